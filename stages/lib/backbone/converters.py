#!/usr/bin/env python3
"""Convert a model for TensorFlow Serving, TensorFlow Lite and ONNX Runtime."""
import os
import subprocess
import tempfile

from stages.lib.backbone import weights
from stages.lib.common import environment, errors, silence
from stages.lib.common.keras_runtime import tf

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
        tflite(served, model)
    if "onnx" in formats:
        with tempfile.TemporaryDirectory() as folder:
            savedmodel(served, model, folder)
            onnx(folder, os.path.join(folder, "model.onnx"), "")


def _error(name, converter, text):
    """Return the EngineError for a format; `text` is the converter's."""
    return errors.EngineError(
        f"params.yaml: export.formats: {name} cannot be had: {converter} "
        f"does not convert the model ({text[:200]}); remove it from the list")
