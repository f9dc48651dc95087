#!/usr/bin/env python3
"""Engines that compute the frozen part: how to load one, and its key.

The features of an image do not depend on the other images in the batch, on
their order, or on the number of workers: on one kind of processor, the bytes
are the same (measured in docs/cache.md, with an exception for tensorflow).
"""
import hashlib
import os
from importlib.metadata import version
from typing import Callable, NamedTuple

from stages.lib.backbone import converters
from stages.lib.common import environment, errors
from stages.lib.engines import (
    batches, openvino_engine, tensorflow_engine, tflite)

# The modules that can change the bytes of features; not this one, so that a
# new engine leaves the features of the others as they are.
MODULES = {"tflite": (tflite, batches), "openvino": (openvino_engine,),
           "tensorflow": (tensorflow_engine, batches)}
LIBRARIES = ("tensorflow", "keras", "numpy")    # and openvino for openvino
# Images a step, fixed at conversion: XNNPACK can refuse a resized graph.
BATCH = {"tflite": 4, "tensorflow": 64}
CHUNK = 16    # images a task: a kill costs a worker at most one task


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
        name: a key of `MODULES`.
        model: `backbone.extractor`.
        folder: to keep the converted graph for the next run, or None.

    Raises:
        EngineError: the engine cannot convert the model, or the environment
            variable EXTRACT_BATCH is wrong.
    """
    if name == "tensorflow":
        batch = tensorflow_engine.batch(BATCH[name])
        return Engine(batches.padded(
            tensorflow_engine.step(model, batch), batch),
            tensorflow_engine.WORKERS, batch)
    workers = len(os.sched_getaffinity(0)) if hasattr(
        os, "sched_getaffinity") else os.cpu_count()
    if name == "openvino":
        return Engine(openvino_engine.compute(model, workers, folder),
                      workers, CHUNK)
    step = tflite.step(model, BATCH[name], workers, folder)
    return Engine(batches.padded(step, BATCH[name]), workers, CHUNK)


def check(name, engine, model):
    """Refuse an engine that computes other features than Keras, on noise.

    All applications were compared: docs/applications.md.  In other models,
    kernels were wrong: some of TensorFlow Lite's for a stride beyond them.

    Args:
        name: as in `load`, which returned `engine` for `model`.

    Raises:
        EngineError: the features differ.
    """
    found = name != "tensorflow" and converters.wrong(
        engine.compute, model, "uint8")
    if found:
        raise errors.EngineError(
            f"params.yaml: extract.engine: {name} does not compute this model "
            f"({found}); set extract.engine to tensorflow")


def others(name):
    """Return the engines but `name` that may be the fastest here."""
    usable = {"tflite": True, "openvino": environment.has("openvino"),
              "tensorflow": tensorflow_engine.on_gpu()}
    return [one for one in MODULES if usable[one] and one != name]


def key(extract):
    """Return the part of the cache key that describes the computation.

    Args:
        extract: `params.Extract`.

    Returns:
        A dictionary of plain values, for JSON.  `code` is the SHA-256 of the
        engine's source, which can change the bytes of features.
    """
    own = ("openvino",) if extract.engine == "openvino" else ()
    return {"dtype": extract.dtype, "engine": extract.engine,
            "code": _code(extract.engine),
            **{name: version(name) for name in (*LIBRARIES, *own)}}


def _code(name):
    """Return the SHA-256 of the source of the engine `name`."""
    found = hashlib.sha256()
    for module in MODULES[name]:
        with open(module.__file__, "rb") as file:
            found.update(file.read())
    return found.hexdigest()
