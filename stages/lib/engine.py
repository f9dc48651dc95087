#!/usr/bin/env python3
"""Engines that compute the frozen part: TensorFlow Lite and TensorFlow.

Each gives the same bytes for an image whatever its neighbours in the batch,
their order, and the number of workers, on one kind of processor (measured:
docs/cache.md).
"""
import contextlib
import glob
import hashlib
import os
import queue
import sys
import tempfile
from typing import Callable, NamedTuple

import numpy as np

from stages.lib import files
from stages.lib.errors import EngineError
from stages.lib.runtime import keras, tf

# Images a step, fixed at conversion: XNNPACK can decline a resized graph.
BATCH = {"tflite": 4, "tensorflow": 64}
# Images a task: what a kill costs a worker.
CHUNK = {"tflite": 16, "tensorflow": 64}
# First convolutions that keep their bias apart: XNNPACK starts each sum with
# it, and what is lost there, all layers behind inherit (docs/cache.md).
STEM = 3


class Engine(NamedTuple):
    """What computes features.

    Attributes:
        compute: a function of uint8 (k, side, side, 3), any k, that returns
            float32 (k, …); several threads may call it.
        workers: how many threads should.
        chunk: how many images each should take at a time.
    """

    compute: Callable
    workers: int
    chunk: int


def load(name, model, folder):
    """Return the `Engine` of a model.

    Args:
        name: a key of `BATCH`.
        model: `backbone.extractor`.
        folder: where the converted graph is kept for the next run; None:
            nowhere.

    Raises:
        EngineError: TensorFlow Lite cannot take the model.
    """
    if name == "tensorflow":
        return Engine(_padded(_tensorflow(model), BATCH[name]), 1, CHUNK[name])
    workers = len(os.sched_getaffinity(0)) if hasattr(
        os, "sched_getaffinity") else os.cpu_count()
    graph = folder and _kept(folder) or _keep(_converted(model), folder)
    return Engine(_padded(_tflite(graph, workers), BATCH[name]), workers,
                  CHUNK[name])


def _padded(step, batch):
    """Return `step`, of exactly `batch` images, as a function of any number.
    """
    def compute(images):
        """Return the features of `images`."""
        rows = []
        for k in range(0, len(images), batch):
            part = images[k:k + batch]
            missing = batch - len(part)
            if missing:
                part = np.concatenate([part, np.repeat(part[:1], missing, 0)])
            rows.append(step(part)[:batch - missing])
        return np.concatenate(rows)
    return compute


def _tensorflow(model):
    """Return one step of TensorFlow itself, on all cores or the GPU."""
    function = _function(model, "tensorflow")
    return lambda images: function(tf.constant(images)).numpy()


def _tflite(graph, workers):
    """Return one step of TensorFlow Lite, for `workers` threads at a time."""
    free = queue.SimpleQueue()
    with _silence():
        for _ in range(workers):
            interpreter = tf.lite.Interpreter(model_content=graph,
                                              num_threads=1)
            interpreter.allocate_tensors()
            free.put(interpreter)
    given, = (item["index"] for item in interpreter.get_input_details())
    wanted, = (item["index"] for item in interpreter.get_output_details())

    def step(images):
        """Return the features of one batch."""
        interpreter = free.get()
        try:
            interpreter.set_tensor(given, images)
            interpreter.invoke()
            return interpreter.get_tensor(wanted)
        finally:
            free.put(interpreter)
    return step


def _function(model, engine):
    """Return uint8 pixels -> features as a tf.function of one signature."""
    return tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec(
            (BATCH[engine], *model.input_shape[1:]), tf.uint8)])


def _converted(model):
    """Return `model` as the bytes of a TensorFlow Lite graph.

    Raises:
        EngineError: it holds operations that TensorFlow Lite has not.
    """
    print("extract: converting the backbone for TensorFlow Lite", flush=True)
    stem = [layer for layer in model._flatten_layers() if isinstance(
        layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))][:STEM]
    stem = [layer for layer in stem if not layer.use_bias
            and layer.activation is keras.activations.linear]
    for layer in stem:    # what follows is not folded through a maximum
        layer.activation = lambda x: tf.maximum(x, x.dtype.min)
    try:
        with _silence():
            function = _function(model, "tflite").get_concrete_function()
            holder = tf.Module()    # the model itself would be saved in 7 s
            holder.weights = list(model.weights)
            graph = tf.lite.TFLiteConverter.from_concrete_functions(
                [function], holder).convert()
            tf.lite.Interpreter(model_content=graph).allocate_tensors()
    except Exception as error:   # the converter raises anything
        reason = " ".join(str(error).split())[:200]
        raise EngineError(
            f"params.yaml: extract.engine: TensorFlow Lite cannot take "
            f"{model.layers[-1].name} and what stands before it ({reason}); "
            "set extract.engine to tensorflow") from error
    finally:
        for layer in stem:
            layer.activation = keras.activations.linear
    return graph


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
    """Write `graph` under its digest, if anywhere, and return it."""
    if folder is None:
        return graph
    digest = hashlib.sha256(graph).hexdigest()
    with files.replacing(f"{folder}/{digest}.tflite") as file:
        file.write(graph)
    return graph


@contextlib.contextmanager
def _silence():
    """Keep off the terminal what TensorFlow Lite writes from C++."""
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
