#!/usr/bin/env python3
"""Features of several layers, `extract.layers`."""
import json
import os
import re

import numpy as np
import parts
import pytest
from conftest import stage

from stages.lib.backbone import backbone, layers
from stages.lib.common import errors, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params

ENDS = {
    "MobileNet": ["conv1_relu", *(f"conv_pw_{k}_relu" for k in range(1, 13))],
    "VGG16": [f"block{k}_conv{n}" for k, last in enumerate(
        (2, 2, 3, 3, 2), start=1) for n in range(1, last + 1)],
    "ResNet50": ["conv1_relu", *(
        f"conv{k}_block{n}_out" for k, last in zip((2, 3, 4, 5), (3, 4, 6, 2))
        for n in range(1, last + 1))],
}
STAGES = {
    "MobileNet": [f"conv_pw_{k}_relu" for k in (1, 3, 5, 11)],
    "VGG16": [f"block{k}_conv{n}" for k, n in enumerate(
        (2, 2, 3, 3, 2), start=1)],
    "ResNet50": ["conv1_relu", "conv2_block3_out", "conv3_block4_out",
                 "conv4_block6_out"]}


def built(application, options=None, side=32):
    """Return an application with random weights."""
    keras_runtime.reset(0)
    return backbone.build(params.Backbone(
        application=application, options=options or {}, pooling="avg",
        cut="top", weights=parts.RANDOM), side)


@pytest.fixture(scope="module")
def small():
    """Return MobileNetV2 at a third of its width."""
    return built("MobileNetV2", {"alpha": 0.35})


@pytest.mark.parametrize("application", ENDS)
def test_words(application):
    """`all` are the blocks' ends, `stages` the last of each resolution."""
    model = built(application)
    assert layers.resolve(model, ["all"]) == [*ENDS[application], "top"]
    assert layers.resolve(model, ["stages"]) == [*STAGES[application], "top"]


def test_names_and_indices(small):
    """Each layer counts once, in the network's order; "top" is the last."""
    names = [layer.name for layer in small.layers]
    index = names.index("block_3_project_BN")
    last = len(names) - 1
    assert layers.resolve(small, ["top"]) == ["top"]
    for same in (names[last], last, "out_relu", names.index("out_relu")):
        assert layers.resolve(small, [same]) == ["top"]
    assert layers.resolve(small, [
        "top", "block_6_expand_relu", index, names[index], "out_relu"]) == [
            names[index], "block_6_expand_relu", "top"]
    assert layers.columns(small, [names[index], "top"]) == [
        [names[index], 0, 16], ["top", 16, 1296]]


@pytest.mark.parametrize("wanted, line", [
    ("block_3_expnad", r"unknown layer 'block_3_expnad'; did you mean "
                       r"'block_3_expand'\? Write top, stages, all, a layer's "
                       "name or its index; `make cuts` lists them"),
    ("stage", "unknown layer 'stage'; did you mean 'stages'"),
    (9999, "unknown layer 9999; did you mean "), (-1, "unknown layer -1; "),
    (0, "input_1 gives neither a map nor a vector")])
def test_unknown_layers(small, wanted, line):
    """An unknown layer is refused, the most similar one is suggested."""
    with pytest.raises(errors.LayersError,
                       match=f"params.yaml: extract.layers: {line}"):
        layers.resolve(small, ["top", wanted])


def read(project, name):
    """Return a JSON file of the project."""
    with open(project.file(name), encoding="utf-8") as file:
        return json.load(file)


def extract(project, monkeypatch, capsys):
    """Run `extract`, which must succeed; return what it prints."""
    capsys.readouterr()
    assert stage(project, monkeypatch, "extract") is None
    return capsys.readouterr().out


def outputs(project, names, pooling):
    """Return the pooled outputs of layers on the test images, by Keras."""
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    model.load_weights(os.path.join(project.folder, "tiny.h5"))
    pixels = np.load(project.file("data/resized/test_x.npy"))
    maps = keras.Model(model.input, [
        model.get_layer(name).output for name in names]).predict(
            pixels / np.float32(127.5) - 1, verbose=0)
    pool = {"avg": np.mean, "max": np.max}[pooling]
    return [pool(found, axis=(1, 2)) for found in maps]


def check(project, finished, pooling):
    """Compare the columns that the manifest names with Keras' layers."""
    columns = read(project, "features/manifest.json")["key"]["columns"]
    names = [name for name, _, _ in columns]
    assert names == ["conv1_relu", "conv_pw_1_relu", "conv_pw_5_relu", "top"]
    x = np.load(project.file("features/test_x.npy"))
    assert x.shape == (100, columns[-1][2]) == (100, 8 + 16 + 64 + 256)
    for (_, begin, end), expected in zip(columns, outputs(
            finished, [*names[:-1], "conv_pw_13_relu"], pooling)):
        assert parts.relative(x[:, begin:end], expected) <= 1e-5


LAYERS = ["top", "conv_pw_1_relu", 35, "conv1_relu"]


@pytest.mark.slow
def test_pipeline(project, finished, monkeypatch, capsys):
    """`fuse` pools the layers that were cached; all parts name them."""
    project.set(extract__layers=LAYERS,
                extract__views=["identity", "hflip"])
    done = extract(project, monkeypatch, capsys)
    assert "computes 480 of 480 rows: extract.layers changed" in done
    assert ("extract: 344 columns of 4 layers: conv1_relu 8, conv_pw_1_relu "
            "16, conv_pw_5_relu 64, top 256\n") in done
    check(project, finished, "avg")
    view = np.load(project.file("features/views/hflip_x.npy"))
    assert view.shape == (180, 344)
    for name in ("train", "fuse", "evaluate"):
        assert stage(project, monkeypatch, name) is None, name
    assert read(project, "results/metrics.json")["test"]["accuracy"] > 0.9
    assert read(project, "results/parity.json")["class_agreement"] == 1
    capsys.readouterr()
    assert stage(project, monkeypatch, "commands.inspect_features") is None
    assert ", 4 layers from conv1_relu to top" in capsys.readouterr().out
    project.set(extract__layers=[35])
    assert "extract.layers changed" in extract(project, monkeypatch, capsys)
    assert stage(project, monkeypatch, "fuse").startswith(
        "fuse: models/head.h5: expects features of shape (344,)")


def test_other_engine_and_pooling(project, finished, monkeypatch, capsys):
    """TensorFlow and the largest values give the columns of Keras, too."""
    project.set(extract__layers=LAYERS, extract__engine="tensorflow",
                backbone__pooling="max")
    extract(project, monkeypatch, capsys)
    check(project, finished, "max")


def test_top_is_as_without_layers(project, finished, monkeypatch, capsys):
    """With [top], the cache key and the features are as before layers."""
    assert "columns" not in read(finished, "features/manifest.json")["key"]
    before = np.load(project.file("features/test_x.npy"))
    project.set(extract__layers=["stages"])
    extract(project, monkeypatch, capsys)
    project.set(extract__layers=["conv_pw_13_relu"])    # it is the top
    done = extract(project, monkeypatch, capsys)
    assert "computes 0 of 300 rows" in done and "columns" not in done
    assert np.array_equal(before, np.load(project.file(
        "features/test_x.npy")))


def test_cut_and_layers(project, monkeypatch):
    """With a cut, layers that are named are refused; words mean its map."""
    project.set(backbone__cut="conv_pw_5_relu", extract__layers=["all"])
    assert stage(project, monkeypatch, "extract") is None
    assert np.load(project.file("features/test_x.npy")).ndim == 4
    project.set(extract__layers=["conv_pw_1_relu", "top"])
    assert stage(project, monkeypatch, "extract") == (
        "extract: params.yaml: extract.layers: with backbone.cut "
        "conv_pw_5_relu only its map is cached; set extract.layers to [top], "
        "or backbone.cut to top")


def test_list_of_layers(project):
    """`make cuts` lists the columns of each layer, and the words."""
    done = project.run("python -m commands.list_cuts")
    assert done.returncode == 0, done.stdout
    for line in (r"conv_dw_1_relu .* 8", r"conv_pw_2_relu .* 32 all",
                 r"conv_pw_1_relu .* 16 all stages",
                 r"conv_pw_13_relu .* 256 all stages top"):
        assert re.search(rf"{line} *$", done.stdout, re.M), line
