#!/usr/bin/env python3
"""A saved Keras model as backbone: what is read, what is refused."""
import os
import shutil

import numpy as np
import pytest
from conftest import stage
from test_tail import killed_and_resumed

from stages.lib.backbone import backbone, cuts, layers
from stages.lib.common import errors, keras_runtime
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.params import params

L = keras.layers
FORMATS = [".h5", ".keras", ""]    # "": the folder of a SavedModel


class Doubled(L.Layer):
    """A layer that is not in Keras."""

    def call(self, inputs):
        """Return twice the inputs."""
        return 2 * inputs


def inner(inputs):
    """Return a map of 16 channels: stock layers, one with weights of its own.
    """
    x = L.Rescaling(1 / 255)(inputs)
    x = L.Conv2D(8, 3, strides=2, kernel_regularizer="l2", name="first")(x)
    x = L.PReLU(shared_axes=[1, 2], alpha_initializer="ones")(x)
    x = L.BatchNormalization()(x)
    return L.Conv2D(16, 3, strides=2, name="second")(x)


def model(make, shape=(None, None, 3), **options):
    """Return the keras.Model that `make` builds on images."""
    keras_runtime.reset(0)
    pixels = keras.Input(shape, **options)
    return keras.Model(pixels, make(pixels))


def nested(inputs):
    """Return a map behind a model in the model, and an operation."""
    return tf.nn.relu(L.Conv2D(4, 1, name="head_conv")(model(inner)(inputs)))


def half(x):
    """Return half of a tensor: the function of a Lambda."""
    return x / 2


def load(path, side=32, **values):
    """Return the backbone of the saved model at `path`."""
    keras_runtime.reset(0)
    return backbone.build(params.Backbone(**{
        "application": str(path), "options": {}, "cut": "top",
        "weights": "models/weights/imagenet.yaml", "pooling": "avg",
        **values}), side)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("make, shape, width", [
    (inner, (None, None, 3), 16), (inner, (32, 32, 3), 16),
    (nested, (None, None, 3), 4),
    (lambda x: L.Dense(7)(L.Flatten()(x)), (32, 32, 3), 7)])
def test_same_features(tmp_path, make, shape, width, ending):
    """The backbone computes what the saved model computes, pooled."""
    saved = model(make, shape)
    saved.save(tmp_path / f"m{ending}")
    pixels = np.random.default_rng(0).integers(
        0, 256, (3, 32, 32, 3)).astype("float32")
    expected = saved(pixels, training=False).numpy()
    if expected.ndim == 4:
        expected = expected.mean(axis=(1, 2))
    found = load(tmp_path / f"m{ending}")
    assert found.output_shape == (None, width)
    assert not any(isinstance(layer, keras.Model) for layer in found.layers)
    extractor = backbone.extractor(backbone.frozen(found, "top"),
                                   str(tmp_path / f"m{ending}"))
    assert np.allclose(extractor(pixels), expected, atol=1e-6)


def shared(inputs):
    """Return a map of layers that are called twice, at two resolutions."""
    pool, relu = L.MaxPooling2D(name="pool"), L.ReLU()
    convolution = L.Conv2D(3, 3, name="twice")
    x = pool(relu(convolution(inputs)))
    return pool(relu(convolution(x)))


@pytest.mark.parametrize("make, expected", [
    (shared, ["re_lu", "top"]),
    (lambda x: L.Dense(7)(L.Flatten()(x)), ["top"])])
def test_layers_called_twice_and_no_maps(tmp_path, make, expected):
    """Each call is a layer of its own; `stages` needs no map."""
    saved = model(make, (32, 32, 3))
    saved.save(tmp_path / "m.h5")
    pixels = np.random.default_rng(0).normal(size=(3, 32, 32, 3))
    found = load(tmp_path / "m.h5")
    assert layers.resolve(found, ["stages"]) == expected
    wanted = saved(pixels, training=False).numpy()
    if wanted.ndim == 4:
        wanted = wanted.mean(axis=(1, 2))
        assert cuts.resolve(found, "twice_call_1") == "twice_call_1"
    assert np.allclose(found(pixels, training=False), wanted, atol=1e-5)


REFUSED = [
    (lambda x: L.Lambda(half, name="half")(x),
     "the layer 'half' is a Lambda.* backbone.trust"),
    (lambda x: Doubled(name="twice")(x), "'twice' is of the class 'Doubled'"
     "|names 'Doubled' of 'test_saved_models'"),
    (lambda x: [L.Conv2D(2, 3)(x), L.Conv2D(2, 3)(x)], "must have one output"),
    (lambda x: L.Reshape((32, 96))(x), "must have one output, a map"),
    (lambda x: L.Conv2D(2, 3, name="rescale")(x), "a layer 'rescale', too"),
    (lambda x: L.Conv2D(2, 3, name="head_hidden_1")(x),
     "a layer 'head_hidden_1', too"),
    (lambda x: L.Conv2D(2, 3, dtype="mixed_float16", name="c")(x),
     "the layer 'c' computes in float16")]


@pytest.mark.parametrize("ending, make, reason", [
    (ending, *refused) for k, refused in enumerate(REFUSED)
    for ending in (FORMATS if k < 2 else FORMATS[:1])])    # code in files
def test_refused(tmp_path, make, reason, ending):
    """What cannot be a backbone is one line that names the layer."""
    path = tmp_path / f"m{ending}"
    model(make, (32, 32, 3)).save(path)
    with pytest.raises(errors.BackboneError, match=reason) as found:
        load(path)
    assert str(found.value).startswith(str(path))
    if "Lambda" in reason:
        assert load(path, trust=True).output_shape == (None, 3)


def test_refused_inputs(tmp_path):
    """The side, the number of inputs and of channels must fit."""
    path = tmp_path / "m.h5"
    model(inner, (48, 48, 3)).save(path)
    with pytest.raises(errors.BackboneError, match="images have 48 x 48 px, "
                       "resize.side is 32; set resize.side to 48"):
        load(path)
    model(lambda x: L.Conv2D(2, 3)(x), (32, 32, 1)).save(path)
    with pytest.raises(errors.BackboneError, match="must have one input"):
        load(path)
    pixels = [keras.Input((32, 32, 3)), keras.Input((32, 32, 3))]
    keras.Model(pixels, L.Add()(pixels)).save(path)
    with pytest.raises(errors.BackboneError, match="must have one input"):
        load(path)
    model(inner).save_weights(path)
    with pytest.raises(errors.BackboneError, match="contains weights only"):
        load(path)
    path.write_bytes(path.read_bytes()[:999])
    for bad in (path, tmp_path / "gone.keras", tmp_path):
        with pytest.raises(errors.BackboneError, match=str(bad)):
            load(bad)


def test_scaling(tmp_path):
    """backbone.scaling says which pixels the model was trained on."""
    model(lambda x: L.ZeroPadding2D(0)(x)).save(tmp_path / "m.h5")
    pixels = np.full((1, 32, 32, 3), [0, 51, 255], "float32")
    for scaling, expected in [
            ("model", [0, 51, 255]), ("tf", [-1, -0.6, 1]),
            ("caffe", [255 - 103.939, 51 - 116.779, -123.68]),
            ("torch", [-0.485 / 0.229, (0.2 - 0.456) / 0.224,
                       (1 - 0.406) / 0.225])]:
        found = load(tmp_path / "m.h5")
        extractor = backbone.extractor(backbone.frozen(found, "top"),
                                       str(tmp_path / "m.h5"), scaling)
        assert np.allclose(extractor(pixels), [expected], atol=1e-4)


@pytest.mark.slow
def test_pipeline(project, tmp_path, monkeypatch, capsys):
    """From a saved model to predictions; its bytes are a dependency."""
    path = tmp_path / "brought.h5"
    model(nested).save(path)
    project.set(backbone__application=str(path), backbone__options={},
                backbone__scaling="tf")
    done = project.run("dvc repro extract")
    assert done.returncode == 0, done.stdout
    assert "up to date" in project.run("dvc status extract").stdout
    other = shutil.copy(path, tmp_path / "other.h5")
    os.unlink(path)
    saved = model(inner)
    saved.trainable = False    # as it is where others froze it
    saved.save(path)
    assert "models/linked" in project.run("dvc status extract").stdout
    project.set(backbone__application=str(other))    # the same bytes
    capsys.readouterr()
    for name in ("extract", "train", "fuse"):
        assert stage(project, monkeypatch, name) is None, name
    assert "computes 0 of 300" in capsys.readouterr().out
    fused = keras_runtime.load_model(project.file("cifar10.h5"))
    assert fused.get_layer("second").filters == 16
    project.set(backbone__application=str(path), backbone__cut="first",
                tail__epochs=4)
    for name in ("extract", "train"):
        assert stage(project, monkeypatch, name) is None, name
    killed_and_resumed(project)
    assert stage(project, monkeypatch, "fuse") is None
    project.set(backbone__application="brought.keras")
    assert "brought.keras: no such file" in stage(
        project, monkeypatch, "extract")
