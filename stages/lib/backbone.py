#!/usr/bin/env python3
"""The backbone: a Keras Application without top, its weights, its scaling."""
import hashlib
import os
import sys
from importlib.metadata import version
from typing import Literal

import numpy as np

from stages.lib import descriptor, params
from stages.lib.errors import BackboneError, ParameterError, WeightsError
from stages.lib.runtime import keras

LIBRARIES = ("tensorflow", "keras", "numpy")


class ImageNet(params.Group):
    """What models/weights/imagenet.yaml holds."""

    kind: Literal["imagenet"]


class Random(params.Group):
    """What models/weights/random.yaml holds."""

    kind: Literal["random"]
    seed: params.Seed


def build(backbone, side):
    """Return the pooled application with its weights, all of it frozen.

    Args:
        backbone: `params.Backbone`.
        side: height and width of its input in pixels.

    Returns:
        keras.Model, float32 (n, side, side, 3) as the application wants it
        scaled -> float32 (n, d).

    Raises:
        BackboneError: the application refuses its options or the side.
        WeightsError: the weights cannot be had, or do not fit.
    """
    model = freeze(_weighted(backbone, side))
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise WeightsError(f"{backbone.weights}: not all weights are finite; "
                           "bring a whole file")
    return model


def _weighted(backbone, side):
    """Return the application with the weights that `backbone` names."""
    path = backbone.weights
    if path.endswith((".yaml", ".yml")):
        wanted = descriptor.read(path, {"imagenet": ImageNet,
                                        "random": Random})
        if wanted.kind == "random":
            keras.utils.set_random_seed(wanted.seed)
            return _untrained(backbone, side)
        model = _untrained(backbone, side)
        model.set_weights(_downloaded(backbone).get_weights())
        return model
    model = _untrained(backbone, side)
    _load(model, path, backbone)
    return model


def features(model, application, pixels):
    """Return the symbolic features of `pixels`, RGB 0..255.

    `model` is what `build` returned for `application`.

    The application's own scaling comes first, then its layers one by one, so
    that the whole becomes a flat model: `get_layer` finds every layer, and
    an `.h5` file holds no nested model.
    """
    function = params.applications()[application]
    scale = sys.modules[function.__module__].preprocess_input
    return model.call(scale(pixels))


def extractor(model, application):
    """Return the keras.Model from pixels at the backbone's side to features.

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


def key(model, backbone, dtype):
    """Return all that the bytes of the features depend on, but the images.

    Args:
        model: what `build` returned for `backbone`.
        backbone: `params.Backbone`.
        dtype: of the features, "float32" or "float16".
    """
    weights = hashlib.sha256()
    for weight in model.get_weights():
        weights.update(weight.tobytes())
    return {"application": backbone.application, "options": backbone.options,
            "weights_sha256": weights.hexdigest(),
            "pooling": backbone.pooling, "side": model.input_shape[1],
            "dtype": dtype, **{name: version(name) for name in LIBRARIES}}


def _untrained(backbone, side):
    """Return the application with initial weights at `side` pixels."""
    function = params.applications()[backbone.application]
    try:
        return function(
            include_top=False, weights=None, pooling=backbone.pooling,
            input_shape=(side, side, 3), **backbone.options)
    except (ValueError, TypeError) as error:
        raise BackboneError(
            f"backbone.application {backbone.application} cannot be built "
            f"with backbone.options {backbone.options} and resize.side "
            f"{side}: {_line(error)}") from error


def _downloaded(backbone):
    """Return the application with Keras' own ImageNet weights for 224 px.

    Without an input shape, Keras takes the 224 px file also where it has one
    for each side.

    Raises:
        WeightsError: no network, or Keras has none for these options.
    """
    function = params.applications()[backbone.application]
    try:
        return function(include_top=False, weights="imagenet",
                        pooling=backbone.pooling, **backbone.options)
    except ValueError as error:
        raise WeightsError(f"{backbone.weights}: Keras has no ImageNet "
                           f"weights for {_title(backbone)}: {_line(error)}"
                           ) from error
    except Exception as error:   # Keras raises a bare Exception
        words = _line(error).split()
        url = next((word for word in words if "://" in word), "")
        name = os.path.basename(url.rstrip(".:")) or "the file"
        raise WeightsError(
            f"{backbone.weights}: {name} cannot be downloaded; bring it from "
            "a machine with a network and name its path in backbone.weights"
        ) from error


def _load(model, path, backbone):
    """Load the `.h5` weights at `path` into `model`."""
    if not path.endswith((".h5", ".hdf5")):
        raise ParameterError(f"params.yaml: backbone.weights: {path} is "
                             "neither a descriptor (.yaml) nor weights (.h5)")
    try:
        model.load_weights(path)
    except OSError as error:
        raise WeightsError(f"{path}: no weights can be read from it "
                           f"({_line(error)})") from error
    except (ValueError, KeyError) as error:
        raise WeightsError(f"{path}: these weights do not fit "
                           f"{_title(backbone)} without top: {_line(error)}"
                           ) from error


def _title(backbone):
    """Return the application and its options as a call."""
    options = ", ".join(f"{k}={v}" for k, v in backbone.options.items())
    return f"{backbone.application}({options})"


def _line(error):
    """Return an error's text in one line."""
    return " ".join(str(error).split())
