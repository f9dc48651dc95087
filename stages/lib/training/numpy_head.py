#!/usr/bin/env python3
"""Compute a plain head with NumPy: TensorFlow takes seconds to start.

A plain head consists of Normalization, Dense and Dropout layers, as
`head.build` makes it; `tests/test_scores.py` compares it with Keras.
"""
import json

import h5py
import numpy as np
from scipy.special import softmax

from stages.lib.common import errors, files, model_seal

EPSILON = 1e-7    # least standard deviation in Keras' Normalization
ROWS = 4096       # computed at a time
VALIDATION = "validation"    # attribute: see `validation`


class NumpyHead:
    """A plain head.

    Attributes:
        shape: of an image's features, (d,).
        classes: number of outputs.
        logits: whether its last layer is linear.
    """

    def __init__(self, shape, layers):
        """Keep the layers.

        Args:
            shape: of an image's features.
            layers: pairs of (configuration, weights by name).
        """
        self._layers = layers
        last, weights = layers[-1]
        self.shape, self.classes = shape, weights["kernel"].shape[1]
        self.logits = last["activation"] == "linear"

    def probabilities(self, x):
        """Return the probabilities of `x`, float (n, d): float64 (n, classes).

        Rows sum to 1.
        """
        return to_probabilities(np.concatenate([
            self._outputs(x[k:k + ROWS].astype(np.float32))
            for k in range(0, len(x), ROWS)]), self.logits)

    def _outputs(self, x):
        """Return the output of the last layer, float32 (n, classes)."""
        for config, weights in self._layers:
            if "kernel" not in weights:
                deviation = np.maximum(np.sqrt(weights["variance"]), EPSILON)
                x = (x - weights["mean"]) / deviation
                continue
            x = x @ weights["kernel"] + weights["bias"]
            if config["activation"] == "relu":
                x = np.maximum(x, 0)
            elif config["activation"] == "softmax":
                x = softmax(x, axis=1)
        return x


def load(path=files.HEAD):
    """Return the `NumpyHead` in the Keras file `path`; None: it is not plain.

    Raises:
        ArtefactError: missing or damaged.
    """
    model_seal.check(path)
    try:
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])["config"]
            layers = [(layer["config"], _weights(file, layer))
                      for layer in config["layers"]
                      if layer["class_name"] not in ("InputLayer", "Dropout")]
            kinds = {layer["class_name"] for layer in config["layers"]}
    except (OSError, KeyError, ValueError) as error:
        raise files.no_model(path, error) from error
    shape = config["layers"][0]["config"].get("batch_input_shape", ())[1:]
    plain = (len(shape) == 1
             and kinds <= {"InputLayer", "Normalization", "Dense", "Dropout"}
             and all(layer.get("activation", "linear") in (
                 "linear", "relu", "softmax") and not layer.get("invert")
                     and (weights.keys() >= {"kernel", "bias"}
                          or weights.keys() >= {"mean", "variance"})
                     for layer, weights in layers)
             and layers and "kernel" in layers[-1][1])
    return NumpyHead(tuple(shape), layers) if plain else None


def validation(path=files.HEAD):
    """Return the scores on validation that the head `path` had before it was
    fitted again with validation, a dictionary; None: it was not.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with h5py.File(path) as file:
            return json.loads(file.attrs.get(VALIDATION, "null"))
    except (OSError, ValueError) as error:
        raise files.no_model(path, error) from error


def check(found, expected):
    """Raise an OtherFeaturesError unless a head fits the features.

    Args:
        found, expected: shape of an image's features, number of classes.
    """
    if found != expected:
        raise errors.OtherFeaturesError(
            f"{files.HEAD}: expects features of shape {found[0]} and has "
            f"{found[1]} outputs, but the features have shape {expected[0]} "
            f"and {expected[1]} classes; delete it and run `dvc repro`")


def to_probabilities(output, logits):
    """Return float64 probabilities, rows that sum to 1.

    Args:
        output: of a head, float (n, classes).
        logits: whether they are logits.
    """
    output = output.astype("float64")
    if logits:
        return softmax(output, axis=1)
    return output / output.sum(axis=1, keepdims=True)


def _weights(file, layer):
    """Return a layer's weights by name; "kernel:0" becomes "kernel"."""
    group = file["model_weights"][layer["config"]["name"]]
    return {name.split("/")[-1].split(":")[0]: group[name][()]
            for name in group.attrs["weight_names"]}
