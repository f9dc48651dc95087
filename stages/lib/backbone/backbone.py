#!/usr/bin/env python3
"""Build the backbone; take its frozen part and its tail."""
import hashlib

import numpy as np

from stages.lib.backbone import applications, cuts, saved_models, weights
from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras
from stages.lib.params import names


def build(backbone, side):
    """Return the pooled application with its weights.

    Args:
        backbone: `params.Backbone`; its application can be a saved model.
        side: height and width of its input in pixels.

    Returns:
        keras.Model, float32 (n, side, side, 3), scaled as the application
        expects -> float32 (n, d); all layers are stock layers of Keras.

    Raises:
        BackboneError: the application does not accept its options or side.
        WeightsError: as `weights.load`.
    """
    if names.is_saved_model(backbone.application):
        return saved_models.load(backbone, side)
    model, trained = weights.load(lambda: _initial(backbone, side), backbone)
    deviation = getattr(applications.module(backbone.application),
                        "IMAGENET_STDDEV_RGB", None)
    if trained and deviation:
        _add_second_division(model, deviation)
    return _with_stock_layers(model)


def frozen(model, cut):
    """Return the part of `model` up to the layer `cut`, frozen.

    Args:
        model: what `build` returned.
        cut: as `cuts.resolve` returns it.
    """
    if cut == cuts.TOP:
        return freeze(model)
    return freeze(keras.Model(model.input,
                              model.get_layer(cut).get_output_at(0)))


def tail(model, cut):
    """Return the part of `model` behind the layer `cut`, trainable.

    A keras.Model, maps float32 (n, h, w, c) -> float32 (n, d), that shares
    its layers with `model`.
    """
    return keras.Model(model.get_layer(cut).get_output_at(0), model.output,
                       name="tail")


def features(model, application, pixels, scaling="model"):
    """Return the symbolic features of `pixels`, RGB 0..255.

    `model` is `application`, or a part of it.  The scaling of pixels is
    applied first, then its layers one by one.  The result is a flat model:
    `get_layer` finds every layer, and no model is nested in an `.h5` file.

    Args:
        model: keras.Model, scaled pixels -> features.
        application: as in `params.Backbone`.
        pixels: symbolic tensor (n, side, side, 3).
        scaling: as in `params.Backbone`.
    """
    return model.call(applications.scaled(application, pixels, scaling))


def extractor(model, application, scaling="model"):
    """Return the keras.Model from pixels at the backbone's side to features.

    `model` is what `frozen` returned for `application`.
    Input (n, side, side, 3), any numeric dtype, RGB 0..255; output float32.
    """
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, features(model, application, pixels, scaling),
                       name="extractor")


def freeze(model):
    """Freeze all layers of `model`; return it.

    Its output is then the same in training and in inference.  Keras runs a
    frozen BatchNormalization in inference mode.  Dropout has no such switch,
    so its rate is set to 0.
    """
    model.trainable = False
    for layer in model._flatten_layers():
        for rate in ("rate", "drop_path_rate"):
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    return model


def key(frozen_part, cut, backbone):
    """Return the part of the cache key that describes the frozen part.

    Args:
        frozen_part: what `extractor` returned for `backbone`; its layers and
            their settings contain architecture, cut and scaling.
        cut: as `cuts.resolve` returns it.
        backbone: `params.Backbone`.

    Returns:
        A dictionary of plain values, for JSON.
    """
    layers = hashlib.sha256(frozen_part.to_json().encode())
    application = backbone.application
    if names.is_saved_model(application):
        application = "saved model"    # its bytes count, not its path
    return {"application": application, "options": backbone.options,
            "pooling": backbone.pooling, "cut": cut,
            "side": frozen_part.input_shape[1],
            "weights": digest(frozen_part),
            "layers": layers.hexdigest()}


def digest(model):
    """Return the SHA-256 of all weights of `model`, in hexadecimal."""
    sha256 = hashlib.sha256()
    for weight in model.get_weights():
        sha256.update(weight.tobytes())
    return sha256.hexdigest()


def _initial(backbone, side):
    """Return the application with initial weights at `side` pixels."""
    function = applications.function(backbone.application)
    try:
        return function(
            include_top=False, weights=None, pooling=backbone.pooling,
            input_shape=(side, side, 3), **backbone.options)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise errors.BackboneError(
            f"backbone.application {backbone.application} cannot be built "
            f"with backbone.options {backbone.options} and resize.side "
            f"{side}: {weights.one_line(error)}") from error


def _add_second_division(model, deviation):
    """Add the second division of pixels that EfficientNet's weights expect.

    Keras adds it as a layer, but only if it downloads the weights itself
    (tensorflow/tensorflow#49930).  Here it is part of the variance of the
    first normalisation, so that weights from a file give the same features.
    """
    layer = next(layer for layer in model.layers
                 if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * np.float32(deviation), count])
    layer.finalize_state()


def _with_stock_layers(model):
    """Return `model` with depthwise convolutions in place of LayerScale.

    ConvNeXt's LayerScale is not a stock layer: a fresh process cannot load it
    from an `.h5` file.  A depthwise 1 x 1 kernel multiplies in the same way.
    """
    def stock(layer):
        """Return a stock layer that computes the same."""
        if type(layer).__name__ == "LayerScale":
            return keras.layers.DepthwiseConv2D(1, use_bias=False,
                                                name=layer.name)
        return type(layer).from_config(layer.get_config())

    if not any(type(layer).__name__ == "LayerScale"
               for layer in model.layers):
        return model
    clone = keras.models.clone_model(model, clone_function=stock)
    clone.set_weights([old.reshape(new.shape) for old, new in
                       zip(model.get_weights(), clone.get_weights())])
    for layer in clone.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return clone
