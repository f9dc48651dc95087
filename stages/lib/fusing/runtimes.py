#!/usr/bin/env python3
"""Open an exported file with the runtime of its format, and nothing else.

Imports no other file of this project: as a stranger, `serve` is the whole
program of the process that a file is checked in.
"""
import contextlib
import hashlib
import importlib
import json
import os
import zipfile
from multiprocessing import connection

import numpy as np


ABOUT = "about.json"    # in the ZIP archive at the end of a .tflite file


def h5(path):
    """Return the function of an `.h5` file; see `load`."""
    from tensorflow import keras
    model = keras.models.load_model(path)
    if model.optimizer is None:
        raise ValueError("is not compiled")
    return model.predict_on_batch


def savedmodel(path):
    """Return the function of the folder of a SavedModel; see `load`."""
    import tensorflow as tf
    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    return lambda pixels: serve(pixels=tf.constant(pixels))[
        "probabilities"].numpy()


def tflite(path):
    """Return the function of a `.tflite` file; see `load`.

    LiteRT is preferred, because TensorFlow takes seconds to import.
    """
    described = _about(path)    # first: damaged files crash the interpreter
    interpreter = _interpreter()(model_path=path, num_threads=1)
    given, = interpreter.get_input_details()
    wanted, = interpreter.get_output_details()
    state = {"shape": None}    # the first batch allocates

    def compute(pixels):
        """Return the probabilities of a batch."""
        if state["shape"] != pixels.shape:
            interpreter.resize_tensor_input(given["index"], pixels.shape)
            interpreter.allocate_tensors()
            state["shape"] = pixels.shape
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    compute.shape = [int(length) for length in given["shape_signature"]]
    compute.about = described
    return compute


def onnx(path):
    """Return the function of an `.onnx` file; see `load`."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"])

    def compute(pixels):
        """Return the probabilities of a batch."""
        return session.run(["probabilities"], {"pixels": pixels})[0]

    compute.shape = [length if isinstance(length, int) else -1
                     for length in session.get_inputs()[0].shape]
    compute.about = json.loads(
        session.get_modelmeta().custom_metadata_map["about"])
    return compute


def _interpreter():
    """Return the class of the interpreter of TensorFlow Lite."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            from tensorflow import lite
            return lite.Interpreter
    return Interpreter


def _about(path):
    """Return what `formats.tflite` wrote about a file, a dictionary.

    Raises:
        ValueError, KeyError, OSError, zipfile.BadZipFile: it did not write
            the file, or the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        found = json.loads(archive.read(ABOUT))
    with open(path, "rb") as file:
        graph = file.read(found["bytes"])
    if hashlib.sha256(graph).hexdigest() != found["sha256"]:
        raise ValueError("damaged: its SHA-256 differs from that inside it")
    return found


FORMATS = {"h5": h5, "savedmodel": savedmodel, "tflite": tflite,
           "onnx": onnx}
LIBRARIES = {"h5": "keras", "savedmodel": "tensorflow", "onnx": "onnxruntime"}


def load(kind, path):
    """Return the function of an exported file.

    Args:
        kind: a key of `FORMATS`.
        path: of the file, or of the folder.

    Returns:
        A function, float32 (n, h, w, 3), 0..255 -> float32 (n, classes),
        probabilities.  Only one thread may call it at a time.  Those of
        `tflite` and `onnx` use one core, and have attributes: `shape` of a
        batch, -1 for any; `about`, with class_names and resize_mode.
    """
    return FORMATS[kind](path)


def serve(kind):
    """Answer batches from standard input on standard output.

    The first message is the path of the file.  What libraries print goes to
    standard error.
    """
    given = connection.Connection(os.dup(0), writable=False)
    answers = connection.Connection(os.dup(1), readable=False)
    os.dup2(2, 1)
    if kind == "tflite":    # imports take seconds: before there is a file
        _interpreter()
    else:
        importlib.import_module(LIBRARIES[kind])
    with contextlib.suppress(EOFError):    # the other end was closed
        compute = load(kind, given.recv())
        while True:
            answers.send(np.asarray(compute(given.recv())))
