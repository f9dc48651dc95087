#!/usr/bin/env python3
"""OpenVINO on the processor: convert the backbone, keep it, compute.

Each worker computes one image at a time on one thread of its own, so that
features cannot depend on other images, nor on the number of workers.
"""
import glob
import hashlib
import os
import queue
import tempfile

import numpy as np

from stages.lib.common import errors, files
from stages.lib.common.keras_runtime import tf


def compute(model, workers, folder):
    """Return a function of any number of images that gives their features.

    Args:
        model: `backbone.extractor`.
        workers: number of threads that may call it at the same time.
        folder: to keep the converted graph for the next run, or None.

    Raises:
        EngineError: OpenVINO cannot convert the model.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = folder and _kept(folder) or _converted(
            model, folder or temporary)
        compiled = _compiled(path, workers, model.layers[-1].name)
    free = queue.SimpleQueue()
    for _ in range(workers):
        request = compiled.create_infer_request()
        pixels, row = (request.get_input_tensor().data,
                       request.get_output_tensor().data)
        # Not first by two threads: the first look at tensors fills a static
        # table, in which both would wait for each other for ever.
        pixels[:] = 0
        request.infer()
        free.put((request, pixels, row))

    def features(images):
        """Return the features of `images`."""
        request, pixels, row = free.get()
        try:
            rows = np.empty((len(images), *row.shape[1:]), "float32")
            for k, image in enumerate(images):
                pixels[0] = image
                request.infer()
                rows[k] = row[0]
            return rows
        finally:
            free.put((request, pixels, row))
    return features


def _compiled(path, workers, name):
    """Return the graph in `path`, compiled for one thread a worker.

    Raises:
        EngineError: OpenVINO does not support an operation.
    """
    import openvino    # an extra; it takes 0.2 s
    try:
        return openvino.Core().compile_model(path, "CPU", {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": workers, "INFERENCE_NUM_THREADS": workers,
            # Pinned, the workers of two processes could share a core.
            "ENABLE_CPU_PINNING": False})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise errors.EngineError(
            f"params.yaml: extract.engine: OpenVINO cannot convert {name} and "
            f"the layers before it ({reason}); set extract.engine to tflite "
            "or tensorflow") from error


def _converted(model, folder):
    """Write `model` as a graph of constants under its digest.

    OpenVINO reads this file.  Its own converter of Keras models gives the
    same bytes of features in three times the time, and reports its use to its
    makers.

    Returns:
        The path of the file.
    """
    # No public name; TensorFlow's version is fixed.
    from tensorflow.python.framework import convert_to_constants
    print("extract: converting the backbone for OpenVINO", flush=True)
    function = tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec((1, *model.input_shape[1:]),
                                       tf.uint8)])
    graph = convert_to_constants.convert_variables_to_constants_v2(
        function.get_concrete_function()).graph.as_graph_def()
    content = graph.SerializeToString(deterministic=True)
    path = f"{folder}/{hashlib.sha256(content).hexdigest()}.pb"
    with files.replacing(path) as file:
        file.write(content)
    return path


def _kept(folder):
    """Return the path of the graph that an earlier run kept, or None."""
    for path in glob.glob(f"{folder}/*.pb"):
        if files.digest(path, "sha256") in path:
            return path
        print(f"extract: {path}: damaged, converted again")
        os.unlink(path)
    return None
