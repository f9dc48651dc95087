#!/usr/bin/env python3
"""The same model out of stock layers that Keras 2.15 and Keras 3 both have.

Keras 3 knows neither Python bytecode of other versions (Lambda) nor calls of
TensorFlow in a graph (TFOpLambda).
"""
import numpy as np

from stages.lib.backbone import converters, graph, weights
from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras
from stages.lib.params import names

RESCALE = "rescale"    # the Lambda of a fused model
UNARY = {"nn.relu": "relu", "nn.silu": "swish", "nn.gelu": "gelu",
         "math.sigmoid": "sigmoid", "math.tanh": "tanh",
         "nn.softmax": "softmax"}
ADD = ("__operators__.add", "__operators__.radd", "math.add", "nn.bias_add")
SUBTRACT = ("math.subtract", "__operators__.subtract")
MULTIPLY = ("math.multiply", "__operators__.multiply")
DIVIDE = ("math.truediv", "math.divide", "__operators__.truediv")
MERGES = {**dict.fromkeys(ADD, keras.layers.Add),
          **dict.fromkeys(SUBTRACT, keras.layers.Subtract),
          **dict.fromkeys(MULTIPLY, keras.layers.Multiply)}
GONE = ("LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU")


def check(given, model):
    """Refuse a saved model that a format of export.formats cannot have.

    All applications have all formats: tests/families.py.

    Args:
        given: `params.Params`.
        model: function without arguments; returns the backbone.

    Raises:
        BackboneError: as `build`.
        EngineError: as `converters.check`.
    """
    formats = set(given.export.formats) - {"savedmodel"}
    if formats and names.is_saved_model(given.backbone.application):
        converters.check(build(model()), formats)


def build(model, rescaled=None):
    """Return `model` out of stock layers, with its weights.

    They have its names, with _ for each /.

    Args:
        model: keras.Model of one input.
        rescaled: function of the symbolic pixels and the arguments of
            `rescaling.rescale`; returns what stands for the Lambda `RESCALE`.

    Raises:
        BackboneError: a layer has no such form; names it.
    """
    copies = graph.Copies(_copy)

    def call(layer, words, named):
        """Return what stands for the output of `layer`."""
        if layer.name == RESCALE and rescaled:
            return rescaled(words[0], layer.arguments)
        operator = OPERATORS.get(type(layer).__name__)
        if operator is None:
            return copies[layer](*words, **named)
        return operator(layer, words, named)

    pixels = keras.Input(model.input_shape[1:], name=model.inputs[0].name)
    try:
        found = keras.Model(pixels, graph.rebuild(model, pixels, call),
                            name=model.name)
    except (ValueError, TypeError) as error:
        raise _error(weights.one_line(error)[:200]) from error
    copies.set_weights()
    return found


def _error(text):
    """Return the BackboneError for a layer without such a form."""
    return errors.BackboneError(
        f"params.yaml: export.formats: h5 and tflite cannot be had: {text}; "
        "remove them from the list")


def _copy(layer):
    """Return a layer of its own that computes the same; without weights.

    Raises:
        BackboneError: as `build`.
    """
    kind, config = type(layer).__name__, layer.get_config()
    if kind in GONE or kind == "Lambda":
        raise _error(f"the layer {layer.name!r} is a {kind}, which Keras 3 "
                     "cannot load")
    if config.get("activation") == "hard_sigmoid":
        raise _error(f"the layer {layer.name!r} has the activation "
                     "hard_sigmoid, which is another function in Keras 3")
    config["name"] = config["name"].replace("/", "_")    # not in Keras 3
    return type(layer).from_config(config)


def _slicing(layer, words, named):
    """Return the tensor with its channels reversed, the one slice we know.

    Keras keeps a slice as a dictionary.
    """
    tensor, *index = [*words, *named.values()]
    if list(*index) != [..., {"start": None, "stop": None, "step": -1}]:
        raise _error(f"the layer {layer.name!r} takes a slice")
    return _fixed(layer, tensor, np.eye(tensor.shape[-1])[::-1], 0)


def _fixed(layer, tensor, kernel, bias):
    """Return `tensor` after a fixed 1 x 1 convolution.

    Args:
        layer: that it stands for.
        tensor: symbolic (n, h, w, c).
        kernel: float (c, c).
        bias: float (c,), or a number.
    """
    channels = tensor.shape[-1]
    made = keras.layers.Conv2D(channels, 1, name=layer.name, trainable=False)
    tensor = made(tensor)
    made.set_weights([kernel[None, None].astype("float32"), np.broadcast_to(
        np.float32(bias), (channels,))])
    return tensor


def _operation(layer, words, named):
    """Return what stands for a call of TensorFlow, TFOpLambda."""
    symbol = layer.symbol
    given = [*words, *(named[name] for name in ("x", "y", "value", "bias")
                       if name in named)]
    tensors = [one for one in given if _is_symbolic(one)]
    if symbol in UNARY and len(given) == len(tensors) == 1:
        return keras.layers.Activation(UNARY[symbol],
                                       name=layer.name)(tensors[0])
    if symbol in MERGES and len(given) == len(tensors) == 2:
        return MERGES[symbol](name=layer.name)(tensors)
    if len(given) == 2 and len(tensors) == 1 and (
            symbol in ADD + MULTIPLY or given[0] is tensors[0]):
        constant = np.asarray(given[1 if given[0] is tensors[0] else 0],
                              "float64")
        if symbol in ADD + SUBTRACT:
            sign = 1 if symbol in ADD else -1
            return _affine(layer, tensors[0], np.float64(1), sign * constant)
        if symbol in MULTIPLY + DIVIDE:
            return _affine(layer, tensors[0], constant if symbol in MULTIPLY
                           else 1 / constant, np.float64(0))
    raise _error(f"the layer {layer.name!r} calls {symbol} of TensorFlow")


def _affine(layer, tensor, scale, offset):
    """Return scale * `tensor` + offset: one number, or one each channel."""
    if scale.size == offset.size == 1:
        return keras.layers.Rescaling(
            scale.item(), offset.item(), name=layer.name)(tensor)
    channels = tensor.shape[-1]
    if len(tensor.shape) != 4 or not {scale.size, offset.size} <= {
            1, channels}:
        raise _error(f"the layer {layer.name!r} calls {layer.symbol} of "
                     "TensorFlow with an array")
    scales = np.broadcast_to(scale.ravel(), (channels,))
    return _fixed(layer, tensor, np.diag(scales), offset.ravel())


def _scaled_sum(layer, words, _):
    """Return what stands for InceptionResNet's CustomScaleLayer."""
    first, second = words[0]
    scaled = keras.layers.Rescaling(layer.get_config()["scale"],
                                    name=f"{layer.name}_scale")(second)
    return keras.layers.Add(name=layer.name)([first, scaled])


def _is_symbolic(value):
    """Return whether `value` is a symbolic tensor of Keras."""
    return isinstance(value, type(keras.Input((1,))))


OPERATORS = {"TFOpLambda": _operation, "SlicingOpLambda": _slicing,
             "CustomScaleLayer": _scaled_sum}
