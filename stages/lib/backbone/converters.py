#!/usr/bin/env python3
"""Convert a model for TensorFlow Serving, TensorFlow Lite and ONNX Runtime."""
import os
import subprocess
import tempfile

import numpy as np

from stages.lib.backbone import weights
from stages.lib.common import environment, errors, silence
from stages.lib.common.keras_runtime import tf

# Largest difference of outputs, as a share of the largest output: rounding
# stays below a tenth of it, wrong kernels differ by twice as much or more.
TOLERANCE = 0.01
# Run by `environment.ONNX_PYTHON`: converts, then adds what predict reads.
TO_ONNX = """
import sys
folder, path, about = sys.argv[1:]
sys.argv[1:] = ["--saved-model", folder, "--output", path, "--opset", "17"]
import onnx
from tf2onnx import convert
convert.main()
model = onnx.load(path)
onnx.helper.set_model_props(model, {"about": about})
onnx.save(model, path)
"""


def savedmodel(served, model, path):
    """Write the folder of a SavedModel, signature `serving_default`.

    Args:
        served: tf.function of `model`, with a signature.
        model: keras.Model.
        path: of the folder.
    """
    module = tf.Module()
    module.weights = model.weights
    tf.saved_model.save(module, path, signatures=served)


def tflite(served, model):
    """Return the bytes of a `.tflite` file; arguments as in `savedmodel`.

    Raises:
        EngineError: TensorFlow Lite cannot convert the model.
    """
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [served.get_concrete_function()], model)
        with silence.errors_hidden():
            return converter.convert()
    except Exception as error:    # the converter raises anything
        raise _error("tflite", "TensorFlow Lite",
                     weights.one_line(error)) from error


def onnx(folder, path, about):
    """Write an `.onnx` file, in an environment of its own.

    Args:
        folder: of a SavedModel.
        path: to write.
        about: text, for the property of this name.

    Raises:
        EngineError: tf2onnx cannot convert the model.
    """
    done = subprocess.run(
        [environment.ONNX_PYTHON, "-I", "-c", TO_ONNX, folder, path, about],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False)
    if done.returncode or not os.path.exists(path):
        said = (done.stdout.strip() or "no message").splitlines()[-1]
        raise _error("onnx", "tf2onnx", said)


def check(model, formats):
    """Convert `model` for each of `formats`, and forget the results.

    Args:
        model: keras.Model of one input and one output.
        formats: names; others than tflite and onnx are not tried.

    Raises:
        EngineError: one cannot be had.
    """
    served = tf.function(
        lambda pixels: {"output": model(pixels, training=False)},
        input_signature=[tf.TensorSpec(model.input.shape, name="pixels")])
    if "tflite" in formats:
        found = wrong(interpreted(tflite(served, model)), model)
        if found:
            raise _error("tflite", "TensorFlow Lite", found, "compute")
    if "onnx" in formats:
        with tempfile.TemporaryDirectory() as folder:
            savedmodel(served, model, folder)
            onnx(folder, os.path.join(folder, "model.onnx"), "")


def interpreted(graph):
    """Return a function that computes one batch with a `.tflite` file."""
    interpreter = tf.lite.Interpreter(model_content=graph)
    given, = interpreter.get_input_details()
    output, = interpreter.get_output_details()

    def compute(images):
        """Return the output for images, as the file's input."""
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])
    return compute


def wrong(compute, model, dtype="float32"):
    """Return what is wrong with other kernels, on noise; "" if they are right.

    Args:
        compute: function, what `model` computes, with these kernels.
        model: keras.Model of images.
        dtype: of the images that `compute` takes.
    """
    images = np.random.default_rng(0).integers(
        256, size=(2, *model.input_shape[1:])).astype(dtype)
    expected = model(images.astype("float32"), training=False).numpy()
    difference = np.abs(compute(images) - expected).max()
    largest = np.abs(expected).max()
    return "" if difference <= TOLERANCE * largest else (
        f"its outputs differ from those of Keras by {difference:.2g} of "
        f"{largest:.2g}")


def _error(name, converter, text, verb="convert"):
    """Return the EngineError for a format; `text` says why."""
    return errors.EngineError(
        f"params.yaml: export.formats: {name} cannot be had: {converter} "
        f"does not {verb} the model ({text[:200]}); remove it from the list")
