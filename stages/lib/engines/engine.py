#!/usr/bin/env python3
"""Engines that compute the frozen part: TensorFlow Lite and TensorFlow.

Each gives the same bytes for an image whatever its neighbours in the batch,
their order, and the number of workers, on one kind of processor (measured:
docs/cache.md).
"""
import hashlib
import os
from importlib.metadata import version
from typing import Callable, NamedTuple

import numpy as np

from stages.lib.common.keras_runtime import tf
from stages.lib.engines import tflite

LIBRARIES = ("tensorflow", "keras", "numpy")
# Images a step, fixed at conversion: XNNPACK can decline a resized graph.
BATCH = {"tflite": 4, "tensorflow": 64}
# Images a task: what a kill costs a worker.
CHUNK = {"tflite": 16, "tensorflow": 64}


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
    function = tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec(
            (BATCH["tensorflow"], *model.input_shape[1:]), tf.uint8)])
    return lambda images: function(tf.constant(images)).numpy()
