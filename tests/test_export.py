#!/usr/bin/env python3
"""`stages.export`: files of the fused model for other programs."""
import hashlib
import json
import os
import zipfile

import h5py
import numpy as np
import parts
import pytest
from conftest import stage, tiny_arrays
from pictures import put, saved

from stages.lib.backbone import backbone, portable
from stages.lib.common import errors, keras_runtime, seals, stock_layers
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.fusing import export_check, formats, runtimes, stock_rescaling
from stages.lib.fusing import stranger
from stages.lib.images import rescaling
from stages.lib.params import params

ALL = ["h5", "savedmodel", "tflite"]    # onnx: tests/portable.py
L = keras.layers


def predicted(project, monkeypatch, capsys, model):
    """Return what `predict_images` says of 3 images, by class."""
    capsys.readouterr()
    assert not stage(project, monkeypatch, "commands.predict_images", model,
                     "images", "--top", "10", "--json")
    return [{best["class"]: best["probability"] for best in one["top"]}
            for one in json.loads(capsys.readouterr().out)]


@pytest.mark.slow
def test_all_formats(project, monkeypatch, capsys):
    """Each file gives the fused model's probabilities; the .h5 is plain."""
    project.set(export__formats=ALL)
    assert stage(project, monkeypatch, "export") is None
    described = seals.read_json("models/export/export.json")
    assert described["class_names"] == [str(k) for k in range(10)]
    assert [one["format"] for one in described["files"]] == ALL
    x = tiny_arrays()["x_test"].astype("float32")
    expected = keras_runtime.load_model("cifar10.h5").predict(x, verbose=0)
    for one in described["files"]:
        assert one["comparison"]["class_agreement"] == 1
        for name, digest in one["sha256"].items():
            with open(f"models/export/{name}", "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest
        compute = runtimes.load(one["format"], f"models/export/{one['name']}")
        for count in (100, 3):    # any batch
            assert np.allclose(compute(x[:count]), expected[:count], atol=1e-4)
    model = keras.models.load_model("models/export/model.h5")
    y = np.eye(10)[tiny_arrays()["y_test"]]
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(0.94)
    with h5py.File("models/export/model.h5") as file:
        config = json.loads(file.attrs["model_config"])
        assert file.attrs["resize_mode"] == "stretch"
    kinds = {one["class_name"] for one in stock_layers.objects(config)}
    assert not kinds & {"Lambda", "TFOpLambda", "SlicingOpLambda"}
    assert keras_runtime.class_names("models/export/model.h5") == (
        described["class_names"])
    with zipfile.ZipFile("models/export/model.tflite") as archive:
        assert archive.read(formats.LABELS).split() == [
            str(k).encode() for k in range(10)]
    for k, image in enumerate(tiny_arrays()["x_test"][:3]):
        put(f"images/{k}.png", saved(image, "PNG"))
    of_fused, *others = [predicted(project, monkeypatch, capsys, name)
                         for name in ("cifar10.h5", "models/export/model.h5",
                                      "models/export/model.tflite")]
    for found in others:
        assert len(found) == 3
        assert found == [pytest.approx(one, abs=1e-4) for one in of_fused]
    with open("models/export/model.tflite", "rb") as file:
        before = file.read()
    for content in (before[:999], b"X" + before[1:], b"", before[:-9]):
        put("./bad.tflite", content)
        assert stage(project, monkeypatch, "commands.predict_images",
                     "bad.tflite", "images") == 2
        assert "bad.tflite: no model can be read" in capsys.readouterr().err
    project.set(export__formats=["tflite"])
    assert stage(project, monkeypatch, "export") is None
    assert sorted(os.listdir("models/export")) == ["export.json",
                                                   "model.tflite"]
    with open("models/export/model.tflite", "rb") as file:
        assert file.read() == before


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(32, 32), (30, 50), (57, 41), None])
@pytest.mark.parametrize("antialias", [False, True])
def test_rescaling(mode, shape, antialias):
    """Stock layers scale as `rescale` does; for photographs, too."""
    if shape is None and (mode == "pad" or antialias):
        pytest.skip("params.py refuses it")
    given = {"side": 24, "mode": mode, "antialias": antialias}
    pixels = keras.Input((*(shape or (None, None)), 3))
    model = keras.Model(pixels, stock_rescaling.build(pixels, given))
    for size in [shape] if shape else [(32, 32), (30, 50), (57, 41)]:
        images = np.random.default_rng(0).integers(
            0, 256, (4, *size, 3)).astype("float32")
        expected = rescaling.rescale(images, **given).numpy()
        difference = np.abs(model(images).numpy() - expected)
        if antialias:    # rounding moves a pixel that is near a half
            assert difference.max() <= 1 and difference.mean() < 1e-3
        else:
            assert not difference.any()


def operations(x):
    """Return a map by operations of TensorFlow that have stock layers."""
    x = (x[..., ::-1] - 3.0) / [2.0, 3.0, 4.0]
    y = tf.nn.silu(L.Conv2D(3, 1)(2.0 * x + 1.0))
    return tf.nn.relu(x + y) * y - x


@pytest.mark.parametrize("through", [parts.through_file, lambda model: model])
def test_operations_become_layers(through):
    """Calls of TensorFlow in a graph become layers that compute the same."""
    pixels = keras.Input((8, 8, 3))
    model = through(keras.Model(pixels, operations(pixels)))
    found = portable.build(model)
    assert not any("Lambda" in type(layer).__name__ for layer in found.layers)
    x = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype("float32")
    assert np.allclose(found(x), model(x), atol=1e-5)


@pytest.mark.parametrize("make, reason", [
    (lambda x: L.Lambda(lambda x: 2 * x, name="own")(x), "'own' is a Lambda"),
    (lambda x: tf.math.cumsum(x), "calls math.cumsum of TensorFlow"),
    (lambda x: x[:, 1:], "takes a slice"),
    (lambda x: L.Conv2D(2, 1, activation="hard_sigmoid", name="c")(x),
     "'c' has the activation hard_sigmoid"),
    (lambda x: L.LocallyConnected2D(2, 1, name="l", implementation=2)(x),
     "'l' is a LocallyConnected2D")])
def test_refused_before_training(project, monkeypatch, tmp_path, make, reason):
    """A saved model without a portable form stops extract and train."""
    keras_runtime.reset(0)
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, make(pixels)).save(tmp_path / "m.h5")
    project.set(backbone__application=str(tmp_path / "m.h5"),
                backbone__options={}, backbone__trust=True,
                export__formats=["h5"])
    for name in ("extract", "train"):
        line = stage(project, monkeypatch, name)
        assert line.startswith(f"{name}: params.yaml: export.formats: h5 and "
                               "tflite cannot be had: the layer ")
        assert reason in line and "\n" not in line


def strided():
    """Return a layer that TensorFlow Lite computes wrongly: zeros."""
    return L.Conv2D(8, 3, strides=4, padding="same")


@pytest.mark.parametrize("make, verb", [
    (lambda: L.UpSampling2D(interpolation="bicubic"), "convert"),
    (strided, "compute")])
def test_conversion_is_tried_before_training(project, monkeypatch, tmp_path,
                                             make, verb):
    """A saved model that TensorFlow Lite cannot have stops extract."""
    keras_runtime.reset(0)
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, make()(pixels)).save(tmp_path / "m.h5")
    project.set(backbone__application=str(tmp_path / "m.h5"),
                backbone__options={}, extract__engine="tensorflow",
                export__formats=["tflite"])
    for name in ("extract", "train"):
        line = stage(project, monkeypatch, name)
        assert line.startswith(f"{name}: params.yaml: export.formats: tflite "
                               "cannot be had: TensorFlow Lite does not "
                               f"{verb} the model (")
        assert "\n" not in line
    assert not os.path.exists(project.file("features/scratch/key.json"))


def test_features_are_compared_before_hours_of_work(project, monkeypatch,
                                                    tmp_path):
    """An engine that computes a saved model wrongly stops extract."""
    keras_runtime.reset(0)
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, strided()(pixels)).save(tmp_path / "m.h5")
    project.set(backbone__application=str(tmp_path / "m.h5"),
                backbone__options={}, export__formats=["h5"])
    line = stage(project, monkeypatch, "extract")
    assert line.startswith("extract: params.yaml: extract.engine: tflite does "
                           "not compute this model (its outputs differ from")
    assert line.endswith("set extract.engine to tensorflow")
    project.set(extract__engine="tensorflow")
    assert stage(project, monkeypatch, "extract") is None


class Rows(list):
    """Rows as of `sample.Sample`."""

    names = [f"row {k}" for k in range(12)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Return an `export_check.Reference`, its model and images."""
    keras_runtime.reset(0)
    side = 24    # with a power of two, all pixels are exact
    pixels = keras.Input((None, None, 3), name="pixels")
    resize = params.Resize(side=side, mode="stretch", antialias=False)
    tensor = rescaling.rescale_layer(**resize.model_dump())(pixels)
    tensor = L.Conv2D(8, 3, 2, activation="relu")(L.Rescaling(
        1 / 64)(tensor))
    tensor = L.GlobalAveragePooling2D(name="pool")(tensor)
    output = L.Dense(3, name="head_output")(tensor)
    model = keras.Model(pixels, output)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40 + k, 64 - k, 3), "uint8")
              for k in range(12)]
    features = keras.Model(pixels, tensor)
    rows = Rows((image, features(image[None].astype("float32"))[0].numpy())
                for image in images)
    top = keras.Sequential([keras.Input((8,)), model.layers[-1]])
    return export_check.Reference(model, top, rows, resize), model, rows


def test_right_file_passes(reference):
    """Logits become probabilities; sizes may differ."""
    found, model, rows = reference
    given = formats.stock(model)
    assert given.layers[-1].name == "head_output_softmax"
    answers = export_check.answers(lambda x: given(x).numpy(), rows)
    compared = found.compare(answers)
    assert compared["class_agreement"] == 1
    assert 0 < compared["explained_by_resizing"] < 0.01
    assert compared["difference_to_cached_features"] < 1e-6


def test_rounding_stays_out_of_the_kernel(tmp_path):
    """The constants that round pixels are not joined with a convolution.

    Without padding, a converter may do so; 12 million then hide the bias.
    """
    keras_runtime.reset(0)
    pixels = keras.Input((16, 16, 3), name="pixels")
    resize = params.Resize(side=32, mode="stretch", antialias=False)
    tensor = L.Conv2D(4, 3, 2)(rescaling.rescale_layer(
        **resize.model_dump())(pixels))
    model = keras.Model(pixels, L.Dense(
        3, activation="softmax", name="head_output")(L.Rescaling(1 / 64)(
            L.GlobalAveragePooling2D()(tensor))))
    path = str(tmp_path / "m.tflite")
    formats.tflite(model, path, ["a", "b", "c"], "stretch")
    compute = runtimes.tflite(path)
    images = np.random.default_rng(0).integers(256, size=(4, 16, 16, 3))
    images = images.astype("float32")
    assert np.abs(compute(images) - model(images)).max() < 1e-6


def test_photographs_in_tflite(reference, tmp_path):
    """A `.tflite` file accepts photographs of any size."""
    found, model, rows = reference
    path = str(tmp_path / "m.tflite")
    formats.tflite(model, path, ["a", "b", "c"], "stretch")
    answers = export_check.answers(runtimes.tflite(path), rows)
    assert found.compare(answers)["class_agreement"] == 1


@pytest.mark.parametrize("change", [
    lambda p: p[::-1], lambda p: p[:, ::-1], lambda p: p * np.nan,
    lambda p: p + 0.02, lambda p: p[:, :2]])
def test_wrong_file_is_refused(reference, change):
    """A twin with one fault is refused."""
    found, model, rows = reference
    with pytest.raises(errors.ParityError, match="disagrees with|gives"):
        found.compare(change(found.expected))


@pytest.mark.parametrize("kind, said", [
    ("h5", "cannot be loaded"), ("savedmodel", "cannot be loaded")])
def test_no_model(tmp_path, kind, said):
    """A file that cannot be loaded is named, in one line."""
    path = tmp_path / "m.h5"
    path.write_bytes(b"no model")
    with stranger.Stranger(kind) as one:
        with pytest.raises(errors.ParityError, match=said) as found:
            one.open(str(path)).probabilities(
                np.zeros((1, 8, 8, 3), "float32"))
    assert "\n" not in str(found.value)


def test_applications_are_portable():
    """The scaling of each kind, and the layers of MobileNet, are stock."""
    for application, scaling in [("MobileNet", "model"), ("MobileNet", "tf"),
                                 ("SimpleCNN", "caffe"),
                                 ("SimpleCNN", "torch")]:
        keras_runtime.reset(0)
        base = backbone.build(params.Backbone(
            application=application, options={}, pooling="avg", cut="top",
            weights="models/weights/random.yaml"), 32)
        model = parts.through_file(backbone.extractor(base, application,
                                                      scaling))
        found = portable.build(model)
        assert [layer.name for layer in found.layers] == [
            layer.name for layer in model.layers]
        x = np.random.default_rng(0).integers(
            0, 256, (2, 32, 32, 3)).astype("float32")
        assert np.allclose(found(x), model(x), rtol=1e-4, atol=1e-6)
