#!/usr/bin/env python3
"""The backbone: an application without top, its frozen part, its tail."""
import hashlib
import sys
from importlib.metadata import version

import numpy as np

from stages.lib import cuts, engine, names, weights
from stages.lib.errors import BackboneError
from stages.lib.runtime import keras

LIBRARIES = ("tensorflow", "keras", "numpy")


def build(backbone, side):
    """Return the pooled application with its weights.

    Args:
        backbone: `params.Backbone`.
        side: height and width of its input in pixels.

    Returns:
        keras.Model, float32 (n, side, side, 3) as the application wants it
        scaled -> float32 (n, d), made of Keras' stock layers only.

    Raises:
        BackboneError: the application refuses its options or the side.
        WeightsError: as `weights.load`.
    """
    model, trained = weights.load(lambda: _initial(backbone, side), backbone)
    deviation = getattr(_module(backbone.application), "IMAGENET_STDDEV_RGB",
                        None)
    if trained and deviation:
        _divide_again(model, deviation)
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


def features(model, application, pixels):
    """Return the symbolic features of `pixels`, RGB 0..255.

    `model` is `application`, or a part of it.  The application's
    own scaling comes first, then its layers one by one, so that the whole
    becomes a flat model: `get_layer` finds every layer, and an `.h5` file
    holds no nested model.
    """
    return model.call(_module(application).preprocess_input(pixels))


def extractor(model, application):
    """Return the keras.Model from pixels at the backbone's side to features.

    `model` is what `frozen` returned for `application`.
    Input (n, side, side, 3), any numeric dtype, RGB 0..255; output float32.
    """
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, features(model, application, pixels),
                       name="extractor")


def freeze(model):
    """Return `model` with no layer trainable, the same in training or not.

    Keras runs a BatchNormalization that is not trainable in inference mode.
    Dropout has no such switch: its rate is set to 0.
    """
    model.trainable = False
    for layer in model._flatten_layers():
        for rate in ("rate", "drop_path_rate"):
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    return model


def key(extractor, cut, backbone, extract):
    """Return all that the bytes of a row depend on, but its image.

    Args:
        extractor: what `extractor` returned for `backbone`: its layers with
            their settings hold architecture, cut and scaling.
        backbone: `params.Backbone`.
        extract: `params.Extract`.

    `code` is that of the engines, which may change what they compute.
    """
    layers = hashlib.sha256(extractor.to_json().encode())
    return {"application": backbone.application, "options": backbone.options,
            "pooling": backbone.pooling, "cut": cut,
            "side": extractor.input_shape[1],
            "weights": digest(extractor),
            "layers": layers.hexdigest(),
            "dtype": extract.dtype, "engine": extract.engine,
            "code": engine.code(),
            **{name: version(name) for name in LIBRARIES}}


def digest(model):
    """Return the SHA-256 of all weights of `model`, in hexadecimal."""
    found = hashlib.sha256()
    for weight in model.get_weights():
        found.update(weight.tobytes())
    return found.hexdigest()


def _module(application):
    """Return the module of Keras that defines an application."""
    return sys.modules[names.applications()[application].__module__]


def _initial(backbone, side):
    """Return the application with initial weights at `side` pixels."""
    function = names.applications()[backbone.application]
    try:
        return function(
            include_top=False, weights=None, pooling=backbone.pooling,
            input_shape=(side, side, 3), **backbone.options)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise BackboneError(
            f"backbone.application {backbone.application} cannot be built "
            f"with backbone.options {backbone.options} and resize.side "
            f"{side}: {weights.line(error)}") from error


def _divide_again(model, deviation):
    """Give EfficientNet the second division that its weights expect.

    Keras adds it as a layer, but only where it downloads the weights itself
    (tensorflow/tensorflow#49930).  Here it goes into the variance by which
    the first normalisation divides, so that weights from a file do as well.
    """
    layer = next(layer for layer in model.layers
                 if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * np.float32(deviation), count])
    layer.finalize_state()


def _with_stock_layers(model):
    """Return `model` with ConvNeXt's LayerScale as a depthwise convolution.

    A 1 x 1 kernel per channel multiplies like LayerScale, which a fresh
    process could not load from an `.h5` file.
    """
    def stock(layer):
        """Return a layer that does the same and is one of Keras' own."""
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
