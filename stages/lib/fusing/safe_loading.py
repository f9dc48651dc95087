#!/usr/bin/env python3
"""Refuse model files that could run code of their own.

Keras executes what a file contains or names: Python bytecode in a Lambda
layer, functions of any module.  This module reads a file's configuration as
plain JSON and accepts only what `fuse` writes.
"""
import json

import h5py

from stages.lib.common import errors, files
from stages.lib.common.keras_runtime import keras
from stages.lib.images import rescaling

MODULES = (None, "keras", "keras.layers", "keras.initializers")
# Of the fused models of all applications, and of compare/.
LAYERS = (
    "Activation", "Add", "AveragePooling2D", "BatchNormalization",
    "Concatenate", "Conv2D", "Cropping2D", "Custom>CustomScaleLayer", "Dense",
    "DepthwiseConv2D", "Dropout", "Flatten", "Functional",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "Lambda",
    "LayerNormalization", "MaxPooling2D", "Multiply", "Normalization",
    "RandomFlip", "RandomTranslation", "RandomZoom", "ReLU", "Rescaling",
    "Reshape", "SeparableConv2D", "Sequential", "SlicingOpLambda",
    "TFOpLambda", "ZeroPadding2D")
OPERATIONS = ("__operators__.add", "__operators__.getitem", "math.multiply",
              "math.subtract", "math.truediv", "nn.bias_add")


def check(path):
    """Raise a PipelineError if the model file `path` could run foreign code.

    Raises:
        ArtefactError: it is no Keras model in HDF5.
        PipelineError: names the layer, or the class that is not known.
    """
    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise files.no_model(path, error) from error
    for found in _objects(config):
        reason = _reason(found)
        if reason:
            raise errors.PipelineError(
                f"{path}: {reason}, which could run code of its own; if you "
                "trust where the file comes from, add --trust")


def _objects(value):
    """Yield each serialized object, a dictionary with a class, in `value`."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _reason(found):
    """Return what is wrong with a serialized object, or None."""
    kind, config = str(found["class_name"]), found.get("config")
    if kind == "__ellipsis__":    # of a SlicingOpLambda
        return None
    if not isinstance(config, dict) or found.get("module") not in MODULES:
        return f"it names {kind!r} of {found.get('module')!r}"
    if _is_initializer(kind):
        return None
    name = f"the layer {config.get('name')!r}"
    if kind not in LAYERS:
        return f"{name} is of the class {kind!r}"
    if kind == "Lambda" and not _is_ours(config):
        return (f"{name} is a Lambda that this project does not write "
                "under this version of Python")
    if "OpLambda" in kind and config.get("function") not in OPERATIONS:
        return f"{name} calls {config.get('function')!r} of TensorFlow"
    return None


def _is_initializer(kind):
    """Return whether `kind` is the name of one of Keras' initializers."""
    found = getattr(keras.initializers, kind, None)
    return isinstance(found, type) and issubclass(
        found, keras.initializers.Initializer)


def _is_ours(config):
    """Return whether a Lambda's configuration is that of `rescale_layer`."""
    arguments = config.get("arguments")
    if not isinstance(arguments, dict):
        return False
    ours = rescaling.rescale_layer(**{
        str(name): value for name, value in arguments.items()}).get_config()
    return json.loads(json.dumps(ours)) == {**config, "name": ours["name"]}
