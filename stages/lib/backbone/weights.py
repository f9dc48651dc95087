#!/usr/bin/env python3
"""Weights of the backbone: random, downloaded by Keras, or from a file."""
import os
from typing import Literal

import numpy as np

from stages.lib.backbone import applications
from stages.lib.common import errors, model_seal
from stages.lib.common.keras_runtime import keras
from stages.lib.params import descriptor, names, params


class ImageNet(params.Group):
    """The keys of models/weights/imagenet.yaml."""

    kind: Literal["imagenet"]


class Random(params.Group):
    """The keys of models/weights/random.yaml."""

    kind: Literal["random"]
    seed: params.Seed


DESCRIPTORS = {"imagenet": ImageNet, "random": Random}
DESCRIBED = (".yaml", ".yml")


def load(build, backbone):
    """Return the model that `build()` returns, with the weights in params.

    Args:
        build: returns the application without top, with initial weights.
        backbone: `params.Backbone`.

    Returns:
        keras.Model, and whether its weights are pretrained.

    Raises:
        WeightsError: backbone.weights names no weights, or they cannot be
            read or downloaded, do not fit, or are not finite.
        ParameterError: the descriptor is invalid.
    """
    path = backbone.weights
    if are_random(backbone):
        keras.utils.set_random_seed(descriptor.read(path, DESCRIPTORS).seed)
        return build(), False
    if path.endswith(DESCRIBED):
        model = build()
        model.set_weights(_downloaded(backbone))
    elif path.endswith((".h5", ".hdf5")):
        model = build()
        _read(model, path, backbone)
    else:
        raise errors.WeightsError(
            f"params.yaml: backbone.weights: {path} is "
            "neither a descriptor (.yaml) nor weights (.h5)")
    check_finite(path, model)
    return model, True


def are_random(backbone):
    """Return whether the weights are drawn at random.

    Args:
        backbone: `params.Backbone`.

    Raises:
        ParameterError: the descriptor is invalid.
    """
    path = backbone.weights
    return (not names.is_saved_model(backbone.application)
            and path.endswith(DESCRIBED)
            and descriptor.read(path, DESCRIPTORS).kind == "random")


def check_finite(path, model):
    """Raise a WeightsError unless all weights from `path` are finite."""
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise errors.WeightsError(
            f"{path}: not all weights are finite; use an "
            "undamaged file")


def _downloaded(backbone):
    """Return Keras' own ImageNet weights for 224 px, a list of arrays.

    MobileNet has different weights for each side; 224 px is always used.

    Raises:
        WeightsError: no network, or Keras has none for these options.
    """
    side = 331 if backbone.application == "NASNetLarge" else 224
    try:
        return applications.function(backbone.application)(
            include_top=False, weights="imagenet", pooling=backbone.pooling,
            input_shape=(side, side, 3), **backbone.options).get_weights()
    except OSError as error:
        raise errors.WeightsError(
            f"{backbone.weights}: the file that Keras downloaded cannot be "
            f"read ({one_line(error)}); delete the application's file in "
            "~/.keras/models and run again") from error
    except ValueError as error:
        raise errors.WeightsError(
            f"{backbone.weights}: Keras has no ImageNet "
            f"weights for {title(backbone)}: {one_line(error)}") from error
    except Exception as error:   # Keras raises a bare Exception
        url = next((word for word in str(error).split() if "://" in word), "")
        name = os.path.basename(url.rstrip(".:")) or "the weights"
        raise errors.WeightsError(
            f"{backbone.weights}: {name} cannot be downloaded "
            f"({one_line(error)}); copy it from a machine with a network, and "
            "set backbone.weights to its path") from error


def _read(model, path, backbone):
    """Load the `.h5` weights at `path` into `model`.

    Raises:
        WeightsError: they cannot be read, or do not fit.
        ArtefactError: `save_model` wrote them, and they are damaged.
    """
    if os.path.exists(path):
        model_seal.check(path)
    try:
        model.load_weights(path)
    except OSError as error:
        raise errors.WeightsError(f"{path}: no weights can be read from it "
                                  f"({one_line(error)})") from error
    except (ValueError, KeyError) as error:
        raise errors.WeightsError(
            f"{path}: these weights do not fit "
            f"{title(backbone)} without top: {one_line(error)}") from error


def title(backbone):
    """Return the application and its options as a call."""
    options = ", ".join(f"{k}={v}" for k, v in backbone.options.items())
    return f"{backbone.application}({options})"


def one_line(error):
    """Return an error's text in one line."""
    return " ".join(str(error).split())
