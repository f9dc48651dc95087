#!/usr/bin/env python3
"""TensorFlow Lite with XNNPACK: convert the backbone, keep it, compute."""
import contextlib
import glob
import hashlib
import os
import queue
import sys
import tempfile

import numpy as np

from stages.lib.common import errors, files
from stages.lib.common.keras_runtime import keras, tf

# Number of first convolutions that add their bias last.  XNNPACK starts each
# sum with the bias, which costs precision in all later layers (docs/cache.md).
STEM = 3


def step(model, batch, workers, folder):
    """Return a function of `batch` images that gives their features.

    Args:
        model: `backbone.extractor`.
        batch: number of images, fixed at conversion.
        workers: number of threads that may call it at the same time.
        folder: to keep the converted graph for the next run, or None.

    Raises:
        EngineError: TensorFlow Lite cannot convert the model.
    """
    graph = folder and _kept(folder) or _keep(_converted(model, batch), folder)
    free = queue.SimpleQueue()
    with _silence():
        for _ in range(workers):
            interpreter = tf.lite.Interpreter(model_content=graph,
                                              num_threads=1)
            interpreter.allocate_tensors()
            free.put(interpreter)
    given, = (item["index"] for item in interpreter.get_input_details())
    wanted, = (item["index"] for item in interpreter.get_output_details())

    def compute(images):
        """Return the features of one batch."""
        interpreter = free.get()
        try:
            interpreter.set_tensor(given, images)
            interpreter.invoke()
            return interpreter.get_tensor(wanted)
        finally:
            free.put(interpreter)
    return compute


def _converted(model, batch):
    """Return `model` as the bytes of a TensorFlow Lite graph.

    Raises:
        EngineError: TensorFlow Lite does not support an operation.
    """
    print("extract: converting the backbone for TensorFlow Lite", flush=True)
    try:
        with _silence(), _biases_last(model) as function:
            function = tf.function(function, input_signature=[tf.TensorSpec(
                (batch, *model.input_shape[1:]), tf.uint8)])
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [function.get_concrete_function()], model)
            converter.experimental_lower_to_saved_model = False   # slow
            graph = converter.convert()
            tf.lite.Interpreter(model_content=graph).allocate_tensors()
    except Exception as error:   # the converter raises anything
        reason = " ".join(str(error).split())[:200]
        raise errors.EngineError(
            f"params.yaml: extract.engine: TensorFlow Lite cannot convert "
            f"{model.layers[-1].name} and the layers before it ({reason}); "
            "set extract.engine to tensorflow") from error
    return graph


@contextlib.contextmanager
def _biases_last(model):
    """Yield uint8 pixels -> features, with a stem that adds its biases last.

    The scale of a batch normalisation is multiplied into the kernel of the
    convolution before it.  The remaining bias must not be a constant, or the
    converter folds it into the convolution: a zero that depends on the pixels
    is added.  The bias is as wide as a row of the map, because XNNPACK adds
    24 channels at a time much slower.  All weights are restored at the end.
    """
    layers = list(model._flatten_layers())
    stem = [layer for layer in layers if isinstance(
        layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))][:STEM]
    pairs = [(layer, _normalization(layer)) for layer in stem]
    pairs = [pair for pair in pairs if pair[1] in layers]
    before = [(layer, layer.get_weights()) for pair in pairs for layer in pair]
    biases = [_scale(*pair) for pair in pairs]

    def function(images):
        """Return the features of uint8 images."""
        zero = tf.minimum(tf.cast(images[0, 0, 0, 0], tf.float32), 0.0)
        for (layer, _), bias in zip(pairs, biases):
            layer.activation = lambda x, bias=bias: x + (
                np.tile(bias, (x.shape[2], 1)) + zero)
        return model(tf.cast(images, tf.float32), training=False)

    try:
        yield function
    finally:
        for layer, weights in before:
            layer.set_weights(weights)
        for layer, _ in pairs:
            layer.activation = keras.activations.linear


def _normalization(layer):
    """Return the batch normalisation behind a linear convolution, or None."""
    after = [node.outbound_layer for node in layer.outbound_nodes]
    if (layer.use_bias or layer.activation is not keras.activations.linear
            or {type(one) for one in after}
            != {keras.layers.BatchNormalization}
            or len({id(one) for one in after}) != 1):
        return None
    return after[0]


def _scale(layer, after):
    """Move the scale of the normalisation `after` into the kernel.

    Returns:
        The remaining bias, float32 (channels,); `after` becomes identity.
    """
    shape = after.moving_mean.shape
    gamma, beta = [np.full(shape, initial) if variable is None
                   else variable.numpy().astype("float64")
                   for variable, initial in ((after.gamma, 1.0),
                                             (after.beta, 0.0))]
    mean, variance = [variable.numpy().astype("float64") for variable in
                      (after.moving_mean, after.moving_variance)]
    scale = gamma / np.sqrt(variance + after.epsilon)
    kernel, = layer.get_weights()
    deep = isinstance(layer, keras.layers.DepthwiseConv2D)
    layer.set_weights([
        kernel * (scale.reshape(kernel.shape[2:]) if deep else scale)])
    for variable, value in ((after.gamma, 1.0), (after.beta, 0.0),
                            (after.moving_mean, 0.0),
                            (after.moving_variance, 1.0 - after.epsilon)):
        if variable is not None:
            variable.assign(np.full(shape, value, "float32"))
    return (beta - mean * scale).astype("float32")


def _kept(folder):
    """Return the graph that an earlier run kept, or None."""
    for path in glob.glob(f"{folder}/*.tflite"):
        with open(path, "rb") as file:
            graph = file.read()
        if hashlib.sha256(graph).hexdigest() in path:
            return graph
        print(f"extract: {path}: damaged, converted again")
        os.unlink(path)
    return None


def _keep(graph, folder):
    """Write `graph` under its digest if there is a folder; return it."""
    if folder is None:
        return graph
    digest = hashlib.sha256(graph).hexdigest()
    with files.replacing(f"{folder}/{digest}.tflite") as file:
        file.write(graph)
    return graph


@contextlib.contextmanager
def _silence():
    """Hide what TensorFlow Lite prints from C++."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as sink:
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), saved):
                os.dup2(copy, number)
                os.close(copy)
