#!/usr/bin/env python3
"""Write a model in the formats that other programs read."""
import hashlib
import io
import json
import tempfile
import zipfile

from stages.lib.backbone import converters, portable
from stages.lib.common import files, keras_runtime, stock_layers, text
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.fusing import runtimes, stock_rescaling
from stages.lib.training import head

OUTPUT = "probabilities"    # the name of the output of all formats
LABELS = "labels.txt"    # class names, a line each
# Keys that Keras 2.15 writes for layers that do not take them in Keras 3.
OF_KERNEL = tuple(f"kernel_{kind}" for kind in (
    "initializer", "regularizer", "constraint"))
UNKNOWN = {"DepthwiseConv1D": ("groups",), "DepthwiseConv2D": ("groups",),
           "Conv1DTranspose": ("groups",), "Conv2DTranspose": ("groups",),
           "SeparableConv1D": ("groups", *OF_KERNEL),
           "SeparableConv2D": ("groups", *OF_KERNEL)}
# Keras 2.15 loads these by another name only; Keras 3 then has their defaults.
CUSTOM = ("Adafactor", "AdamW", "Lion")


def with_probabilities(model):
    """Return the fused `model` with probabilities as its output."""
    if not head.gives_logits(model):
        return model
    softmax = keras.layers.Softmax(name=f"{model.layers[-1].name}_softmax")
    return keras.Model(model.input, softmax(model.output), name=model.name)


def stock(model):
    """Return the fused `model` out of stock layers, with probabilities."""
    return with_probabilities(portable.build(model, stock_rescaling.build))


def h5(model, path, names, mode):
    """Write an `.h5` file that Keras 2.15 and Keras 3 load, compiled.

    Args:
        model: the fused model, compiled.
        path: to write.
        names: of the classes.
        mode: resize.mode, for `commands/predict_images.py`.
    """
    found, optimizer = stock(model), model.optimizer
    found.compile(type(optimizer)(learning_rate=float(
        optimizer.learning_rate)), "categorical_crossentropy", ["accuracy"])
    keras_runtime.save_model(found, path, edit=_plain, class_names=names,
                             resize_mode=mode)


def _plain(file):
    """Remove from an open HDF5 file what Keras 3 does not read."""
    config = json.loads(file.attrs["model_config"])
    for found in stock_layers.objects(config):
        for key in UNKNOWN.get(found["class_name"], ()):
            found["config"].pop(key, None)
    file.attrs["model_config"] = json.dumps(config)
    training = json.loads(file.attrs["training_config"])
    given = training["optimizer_config"]
    config = given["config"]
    given["config"] = {"name": config["name"], "learning_rate": float(
        f"{config['learning_rate']:.7g}")}
    if config["name"] not in CUSTOM:
        given["class_name"] = config["name"]
    training["metrics"] = ["accuracy"]
    file.attrs["training_config"] = json.dumps(training)


def savedmodel(model, path, names, _):
    """Write the folder of a SavedModel, for TensorFlow Serving or TFSMLayer.

    Its signature is `serving_default`: pixels -> probabilities.  The names of
    the classes are in `assets.extra`, where users keep files of their own.
    """
    found = with_probabilities(model)
    converters.savedmodel(_served(found), found, path)
    files.write_text(f"{path}/assets.extra/{LABELS}", _lines(names))


def _served(model):
    """Return `model` as a tf.function, pixels -> probabilities by name."""
    return tf.function(
        lambda pixels: {OUTPUT: model(pixels, training=False)},
        input_signature=[tf.TensorSpec(model.input.shape, name="pixels")])


def tflite(model, path, names, mode):
    """Write a `.tflite` file for LiteRT.

    It ends with a ZIP archive, as files of TensorFlow Lite carry others, which
    runtimes do not read: `LABELS`, and `runtimes.ABOUT` for
    `commands/predict_images.py`.

    Raises:
        EngineError: TensorFlow Lite cannot convert the model.
    """
    found = (stock(model) if model.input_shape[1] else
             with_probabilities(model))    # `Resizing` loses the size here
    graph = converters.tflite(_served(found), found)
    data = io.BytesIO(graph)
    about = {"class_names": names, "resize_mode": mode, "bytes": len(graph),
             "sha256": hashlib.sha256(graph).hexdigest()}
    with zipfile.ZipFile(data, "a") as archive:
        for name, content in ((LABELS, _lines(names)),
                              (runtimes.ABOUT, json.dumps(about))):
            entry = zipfile.ZipInfo(name)    # of 1980: always the same bytes
            archive.writestr(entry, content)
    with files.replacing(path) as file:
        file.write(data.getvalue())


def onnx(model, path, names, mode):
    """Write an `.onnx` file for ONNX Runtime.

    Its converter runs in an environment of its own, on a SavedModel.

    Raises:
        EngineError: the converter fails.
    """
    about = json.dumps({"class_names": names, "resize_mode": mode})
    with tempfile.TemporaryDirectory() as folder:
        savedmodel(model, folder, names, mode)
        converters.onnx(folder, path, about)


def _lines(names):
    """Return class names, a line each; line ends in them are escaped."""
    return "".join(f"{text.escaped(name)}\n" for name in names)


# Format -> name in models/export, and the function that writes it.
FORMATS = {"h5": ("model.h5", h5), "savedmodel": ("saved_model", savedmodel),
           "tflite": ("model.tflite", tflite), "onnx": ("model.onnx", onnx)}
