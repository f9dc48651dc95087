#!/usr/bin/env python3
"""Engines that compute the frozen part: TensorFlow Lite and TensorFlow.

The features of an image do not depend on the other images in the batch, on
their order, or on the number of workers: on one kind of processor, the bytes
are the same (measured in docs/cache.md).
"""
import hashlib
import os
from importlib.metadata import version
from typing import Callable, NamedTuple

import numpy as np

from stages.lib.common.keras_runtime import tf
from stages.lib.engines import tflite

LIBRARIES = ("tensorflow", "keras", "numpy")
# Images a step, fixed at conversion: XNNPACK can refuse a resized graph.
BATCH = {"tflite": 4, "tensorflow": 64}
# Images a task: a kill costs a worker at most one task.
CHUNK = {"tflite": 16, "tensorflow": 64}


class Engine(NamedTuple):
    """A function that computes features, and how to call it.

    Attributes:
        compute: function, uint8 (k, side, side, 3), any k -> float32 (k, …);
            threads may call it at the same time.
        workers: number of threads to use.
        chunk: number of images for each call.
    """

    compute: Callable
    workers: int
    chunk: int


def load(name, model, folder):
    """Return the `Engine` of a model.

    Args:
        name: a key of `BATCH`.
        model: `backbone.extractor`.
        folder: to keep the converted graph for the next run, or None.

    Raises:
        EngineError: TensorFlow Lite cannot convert the model.
    """
    if name == "tensorflow":
        return Engine(_padded(_tensorflow(model), BATCH[name]), 1, CHUNK[name])
    workers = len(os.sched_getaffinity(0)) if hasattr(
        os, "sched_getaffinity") else os.cpu_count()
    step = tflite.step(model, BATCH[name], workers, folder)
    return Engine(_padded(step, BATCH[name]), workers, CHUNK[name])


def key(extract):
    """Return the part of the cache key that describes the computation.

    Args:
        extract: `params.Extract`.

    Returns:
        A dictionary of plain values, for JSON.  `code` is the SHA-256 of the
        engines' source, which can change the bytes of features.
    """
    return {"dtype": extract.dtype, "engine": extract.engine,
            "code": _code(),
            **{name: version(name) for name in LIBRARIES}}


def _code():
    """Return the SHA-256 of the engines' source."""
    found = hashlib.sha256()
    for path in (__file__, tflite.__file__):
        with open(path, "rb") as file:
            found.update(file.read())
    return found.hexdigest()


def _padded(step, batch):
    """Return a function of any number of images; `step` takes `batch`."""
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
    """Return a function of one batch by TensorFlow, on all cores or the GPU.
    """
    function = tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec(
            (BATCH["tensorflow"], *model.input_shape[1:]), tf.uint8)])
    return lambda images: function(tf.constant(images)).numpy()
