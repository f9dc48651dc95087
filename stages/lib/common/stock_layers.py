#!/usr/bin/env python3
"""Find what in a model's configuration is not a stock layer of Keras.

Keras executes what a file contains or names: Python bytecode in a Lambda
layer, functions of any module.  The configuration is read as plain JSON,
before Keras sees the file.
"""
from stages.lib.common.keras_runtime import keras

MODULES = (None, "keras", "keras.layers", "keras.initializers",
           "keras.regularizers", "keras.constraints", "keras.mixed_precision",
           "keras.models", "keras.src.engine.functional",
           "keras.src.engine.sequential", "keras.src.layers.core.tf_op_layer")
# Written by Keras itself for its applications.
OF_KERAS = ("Custom>CustomScaleLayer", "Functional", "Model", "Sequential",
            "SlicingOpLambda", "TFOpLambda", "Policy")
PLAIN = ("__ellipsis__", "__tuple__", "TensorShape")    # values, no code
# They read other files, or run graphs that do.
READERS = ("TFSMLayer", "StringLookup", "IntegerLookup", "TextVectorization")
OPERATIONS = ("math.", "nn.", "__operators__.")
MORE_OPERATIONS = ("cast", "clip_by_value", "concat", "expand_dims",
                   "identity", "image.resize", "reshape", "split", "squeeze",
                   "stack", "transpose")


def objects(value):
    """Yield each serialized object, a dictionary with a class, in `value`."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def foreign(found):
    """Return what of a serialized object Keras does not bring, or None.

    Args:
        found: one of `objects`.

    Returns:
        Text that names the layer; for a Lambda it ends with "is a Lambda".
    """
    kind, config = str(found["class_name"]), found.get("config")
    if kind in PLAIN:
        return None
    if not isinstance(config, dict) or found.get("module") not in MODULES:
        return f"it names {kind!r} of {found.get('module')!r}"
    name = f"the layer {config.get('name')!r}"
    if kind == "Lambda":
        return f"{name} is a Lambda"
    if kind not in OF_KERAS and (kind in READERS or not any(
            _has_class(place, kind) for place in (
                "layers", "initializers", "regularizers", "constraints"))):
        return f"{name} is of the class {kind!r}"
    function = str(config.get("function"))
    if "OpLambda" in kind and not (function.startswith(OPERATIONS)
                                   or function in MORE_OPERATIONS):
        return f"{name} calls {function!r} of TensorFlow"
    return None


def _has_class(place, kind):
    """Return whether keras.{place} has a class named `kind`."""
    return isinstance(getattr(getattr(keras, place), kind, None), type)
