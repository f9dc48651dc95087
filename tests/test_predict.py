#!/usr/bin/env python3
"""`python -m commands.predict_images` with a fused model alone."""
import io
import json
import os
import runpy
import sys
import types

import h5py
import numpy as np
import pytest
from conftest import tiny_arrays
from pictures import bad, noise, put, saved

from stages.lib.common import keras_runtime, model_seal
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.training import head, numpy_head


@pytest.fixture
def predict(monkeypatch, tmp_path, capsys, finished):
    """Return a function that predicts from an empty folder."""
    monkeypatch.chdir(tmp_path)
    model = finished.file("cifar10.h5")

    def run(*words, model=model, given=b""):
        """Return the status, standard output and standard error."""
        monkeypatch.setattr(sys, "argv", ["predict_images", model, *words])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(
            buffer=io.BytesIO(given)))
        with pytest.raises(SystemExit) as end:
            runpy.run_module("commands.predict_images", run_name="__main__")
        return (end.value.code, *capsys.readouterr())

    return run


def test_same_as_the_pipeline(predict, finished, tmp_path):
    """Folders, files and standard input get the pipeline's own scores."""
    x = np.load(finished.file("features/test_x.npy"))[:6]
    p = head.probabilities(keras_runtime.load_model(
        finished.file("models/head.h5")), x)
    images = [saved(image, "PNG") for image in tiny_arrays()["x_test"][:6]]
    for k, image in enumerate(images[:5]):
        put(str(tmp_path / f"folder/{k % 2}/{k}.png"), image)
    put(str(tmp_path / "folder/.hidden.png"), b"")
    status, output, errors = predict("folder", "-", "--json", "--top", "3",
                                     given=images[5])
    output = json.loads(output)
    assert (status, errors) == (0, "")
    order = [0, 2, 4, 1, 3]
    assert [one["file"] for one in output] == [
        f"folder/{k % 2}/{k}.png" for k in order] + ["-"]
    for one, k in zip(output, order + [5]):
        assert len(one["top"]) == 3
        assert (one["class"], one["probability"]) == tuple(
            one["top"][0].values())
        for rank, best in enumerate(np.argsort(-p[k])[:3]):
            assert one["top"][rank]["class"] == str(best)
            assert one["top"][rank]["probability"] == pytest.approx(
                p[k, best], abs=1e-4)
    name = os.fsdecode(b"\xff.png")    # not UTF-8
    put(str(tmp_path / name), images[0])
    assert predict(name)[1].startswith("\\udcff.png\t")
    status, table, _ = predict("folder/0/0.png")
    assert table == (f"folder/0/0.png\t{output[0]['class']}\t"
                     f"{output[0]['probability']:.4f}\n")


def test_bad_files_are_reported(predict, tmp_path):
    """A file that is not an image gets a line; the others are predicted."""
    for name, (data, _) in bad().items():
        put(str(tmp_path / "bad" / name), data)
    put(str(tmp_path / "bad/large.jpg"), saved(noise(90, 50), "JPEG"))
    status, output, errors = predict("bad", "nowhere.png")
    assert status == 1
    assert output.startswith("bad/large.jpg\t") and output.count("\n") == 1
    expected = [f"predict_images: bad/{name}: {reason}"
                for name, (_, reason) in sorted(bad().items())]
    assert errors.splitlines() == expected + [
        "predict_images: nowhere.png: no such file, or a broken link"]


@pytest.mark.parametrize("words, model, line", [
    ((), "cifar10.h5", "the following arguments are required: IMAGE"),
    (("a.png", "--top", "0"), "cifar10.h5", "--top must be 1 or more"),
    (("a.png",), "nowhere.h5", "nowhere.h5: no model can be read from it"),
    (("a.png",), "models/head.h5", "models/head.h5: not a fused model"),
])
def test_usage(predict, finished, words, model, line):
    """An invalid command or model is one line, and status 2."""
    status, output, errors = predict(*words, model=finished.file(model))
    assert (status, output) == (2, "")
    assert line in errors and errors.count("\n") == 1


def test_folders(predict, tmp_path):
    """Side and system files are skipped; an empty folder is an error."""
    for name in ("a\tb\n.png", ".hidden/a.png", "note.txt", "Thumbs.db"):
        put(str(tmp_path / "in" / name), saved(noise(9, 9), "PNG"))
    os.makedirs(tmp_path / "none/inner")
    put(str(tmp_path / "none/note.json"), b"{}")
    os.symlink("../in", tmp_path / "none/link")
    status, output, errors = predict("in")
    assert (status, errors) == (0, "")
    name, *rest = output.rstrip("\n").split("\t")
    assert name == r"in/a\tb\n.png" and len(rest) == 2
    status, output, errors = predict("none")
    assert (status, output) == (1, "")
    assert errors.splitlines() == [
        "predict_images: none/link: a link to a folder",
        "predict_images: none: no image in it"]


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_rectangles(predict, tmp_path, mode):
    """A model of rectangular arrays accepts photographs of any size."""
    keras_runtime.reset(0)
    shape = (8, 16, 3)
    inputs = keras.Input(shape)
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    keras_runtime.save_model(
        keras.Model(inputs, keras.layers.Dense(
            3, "linear", kernel_initializer="ones")(means)),
        str(tmp_path / "m.h5"), class_names=["a", "b", "c"], resize_mode=mode)
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30] = 240    # what `crop` keeps
    put(str(tmp_path / "square.png"), saved(image, "PNG"))
    put(str(tmp_path / "same.png"), saved(noise(8, 16), "PNG"))
    put(str(tmp_path / "strip.png"), saved(noise(1, 900), "PNG"))
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_head, "to_probabilities", lambda output, _: (
            seen.extend(output[:, 0]), np.ones((len(output), 3)) / 3)[1])
        assert predict("square.png", "same.png", "strip.png",
                       model=str(tmp_path / "m.h5"))[0] == 0
    expected = {"stretch": 360, "crop": 720, "pad": 180}[mode]
    assert seen[0] == pytest.approx(expected, abs=30)
    assert seen[1] == pytest.approx(noise(8, 16).sum() / 128, abs=0.1)
    assert len(seen) == 3


def foreign(layer, path, change=lambda config: None):
    """Write a model of images with `layer`; change its configuration.

    Args:
        layer: between the images and the classes.
        path: of the file.
        change: function of the layer's entry in the configuration.
    """
    inputs = keras.Input((8, 8, 3))
    output = keras.layers.Dense(2)(keras.layers.Flatten()(layer(inputs)))
    keras_runtime.save_model(keras.Model(inputs, output), path,
                             class_names=["a", "b"])
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"][1])
        file.attrs["model_config"] = json.dumps(config)
    with open(path, "r+b") as file:    # no seal
        data = file.read().replace(model_seal.SAID.encode(),
                                   b"?" * len(model_seal.SAID))
        file.seek(0)
        file.write(data)


def writes(x):
    """Return `x`, and write a file: what a stranger's model could do."""
    import pathlib
    pathlib.Path("owned").touch()
    return x


@pytest.mark.parametrize("layer, change, reason", [
    (lambda: keras.layers.Lambda(writes, name="evil"), lambda one: None,
     "the layer 'evil' is a Lambda that this project does not write"),
    (lambda: keras.Sequential([keras.layers.Lambda(writes, name="inner")]),
     lambda one: None, "the layer 'inner' is a Lambda"),
    (lambda: keras.layers.Activation("relu", name="a"),
     lambda one: one["config"].update(activation={
         "class_name": "function", "config": "system", "module": "os",
         "registered_name": "system"}), "it names 'function' of 'os'"),
    (lambda: keras.layers.Activation("relu", name="a"),
     lambda one: one.update(module="antigravity"), "it names 'Activation' of"),
    (lambda: tf.math.abs, lambda one: one["config"].update(
        function="io.write_file"), "calls 'io.write_file' of TensorFlow"),
    (lambda: keras.layers.ZeroPadding2D(name="z"),
     lambda one: one.update(class_name="TFSMLayer"),
     "is of the class 'TFSMLayer'")])
def test_strangers_code_is_not_run(predict, tmp_path, layer, change, reason):
    """A model that could run code of its own is refused, unless trusted."""
    keras_runtime.reset(0)
    path = str(tmp_path / "m.h5")
    foreign(layer(), path, change)
    (tmp_path / "owned").unlink(missing_ok=True)
    put(str(tmp_path / "a.png"), saved(noise(8, 8), "PNG"))
    status, output, errors = predict("a.png", model=path)
    assert (status, output) == (2, "")
    assert reason in errors and "add --trust" in errors
    assert not (tmp_path / "owned").exists()
    if "Lambda that" in reason:
        assert predict("a.png", "--trust", model=path)[0] == 0
        assert (tmp_path / "owned").exists()
