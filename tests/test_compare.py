#!/usr/bin/env python3
"""The comparison with a ConvNet from scratch, and the pictures."""
import csv
import json
import os
import shutil

import numpy as np
import pytest
from conftest import Project, made_once, stage
from PIL import Image
from ruamel.yaml import YAML

from compare import convnet
from stages.lib.common import keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.images import rescaling
from stages.lib.params import compare
from stages.lib.results import charts, matrix, mistakes

PARAMS = "compare/params.yaml"
RED = (255, 0, 0)


@pytest.fixture(scope="session")
def compared(finished, tmp_path_factory):
    """Return a copy of the finished project after its comparison: read it."""
    def make(path):
        """Run the comparison on small images."""
        shutil.copytree(finished.path, path, symlinks=True)
        project = Project(path)
        project.set(PARAMS, convnet__side=16, convnet__batch_size=16,
                    convnet__zoom=0.0)
        done = project.run("dvc --cd compare repro")
        assert done.returncode == 0, done.stdout

    return made_once(tmp_path_factory, "compared", make)


@pytest.fixture
def changeable(compared, tmp_path):
    """Return a copy of the compared project that a test may change."""
    path = tmp_path / "project"
    shutil.copytree(compared.path, path, symlinks=True)
    return Project(path)


def table(project):
    """Return results/comparison.csv as a list of dictionaries."""
    path = project.file("compare/results/comparison.csv")
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_side_by_side(compared):
    """The table contains scores, intervals, minutes and weights."""
    scores = []
    for name in ("results/metrics.json", "compare/results/convnet.json"):
        with open(compared.file(name), encoding="utf-8") as file:
            of = json.load(file)
        scores += [of["validation"], of["test"]]
    rows = table(compared)
    assert [row["scored"] for row in rows] == [
        "transfer, validation", "transfer, test",
        "ConvNet, validation", "ConvNet, test"]
    for row, of in zip(rows, scores):
        for name in ("accuracy", "accuracy_low", "accuracy_high"):
            assert float(row[name]) == of[name]
        assert float(row["minutes"]) > 0
    head = keras_runtime.load_model(compared.file("models/head.h5"))
    whole = keras_runtime.load_model(compared.file("cifar10.h5"))
    net = keras_runtime.load_model(compared.file("compare/models/convnet.h5"))
    for row, model, learner in [(rows[0], whole, head), (rows[2], net, net)]:
        assert int(row["parameters"]) == model.count_params()
        assert int(row["trained"]) == sum(
            np.size(weight) for weight in learner.trainable_weights)
    history = np.genfromtxt(compared.file("compare/results/history.csv"),
                            delimiter=",", names=True)
    assert len(history) == 3
    assert scores[2]["accuracy"] == pytest.approx(
        history["val_accuracy"].max())    # the best epoch is kept


def test_pipelines_stay_apart(compared, finished):
    """`dvc repro` runs no comparison; both pipelines stay up to date."""
    assert os.listdir(finished.file("compare/models")) == [".gitignore"]
    assert compared.repro() == []
    for command in ("dvc status", "dvc --cd compare status"):
        assert "up to date" in compared.run(command).stdout
    done = compared.run("dvc --cd compare plots show && "
                        "dvc --cd compare metrics show")
    assert done.returncode == 0 and "test.accuracy" in done.stdout
    done = compared.run("git status --short")
    assert done.stdout == (" M compare/params.yaml\n?? compare/dvc.lock\n"
                           "?? dvc.lock\n")


def test_same_bytes_twice(changeable, monkeypatch):
    """A second training writes the same bytes; its trunk is a backbone."""
    path = changeable.file("compare/dvc.lock")
    with open(path, encoding="utf-8") as file:
        expected = {out["path"]: out["md5"] for part in
                    YAML(typ="safe").load(file)["stages"].values()
                    for out in part["outs"]}
    assert stage(changeable, monkeypatch, "compare.convnet") is None
    assert stage(changeable, monkeypatch, "compare.compare") is None
    sums = changeable.run("cd compare && md5sum models/*.* results/*.* "
                          "seals/*.*")
    found = {name: md5 for md5, name in map(str.split,
                                            sums.stdout.splitlines())}
    assert found.keys() == expected.keys()
    for name in set(expected) - {    # minutes
            "results/comparison.csv", "results/comparison.png",
            "seals/compare.json"}:
        assert found[name] == expected[name], name
    changeable.set(backbone__application="SimpleCNN", backbone__options={},
                   backbone__weights="compare/models/trunk.h5")
    assert stage(changeable, monkeypatch, "extract") is None


def test_no_minutes_but_measured_ones(changeable, monkeypatch, capsys):
    """Without a record of the time, the table has no minutes."""
    os.unlink(changeable.file("logs/timings.jsonl"))
    assert stage(changeable, monkeypatch, "compare.compare") is None
    assert [row["minutes"] for row in table(changeable)] == [""] * 4
    assert "ConvNet: no minutes" in capsys.readouterr().out


def test_bad_input(changeable, monkeypatch):
    """Unknown keys, invalid values and missing files give one line."""
    changeable.set(PARAMS, convnet__shift=1.0)
    assert stage(changeable, monkeypatch, "compare.convnet").startswith(
        "convnet: compare/params.yaml: convnet.shift: ")
    changeable.set(PARAMS, convnet__shift=0.1, convnet__epoch=3)
    assert ("convnet: compare/params.yaml: convnet.epoch: unknown name"
            in stage(changeable, monkeypatch, "compare.convnet"))
    os.unlink(changeable.file("compare/models/convnet.h5"))
    assert "compare/models/convnet.h5" in stage(
        changeable, monkeypatch, "compare.compare")


def test_small_images_come_back():
    """Images enlarged by an odd factor are restored exactly."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    enlarged = rescaling.rescale(images, 160)
    assert np.array_equal(rescaling.rescale(enlarged, 32), images)


def picture(path):
    """Return a PNG as an array uint8 (h, w, 3); it has more than one colour.
    """
    with Image.open(path) as image:
        assert image.format == "PNG" and not image.text
        pixels = np.array(image.convert("RGB"))
    assert len(np.unique(pixels @ [1 << 16, 1 << 8, 1])) > 50
    assert min(pixels.shape[:2]) >= 240
    return pixels


def test_pictures(compared):
    """The pipelines write pictures."""
    for name in ("history", "confusion", "mistakes"):
        picture(compared.file(f"results/{name}.png"))
    for name in ("history", "comparison"):
        picture(compared.file(f"compare/results/{name}.png"))


def test_mistakes_show_what_is_wrong(tmp_path):
    """The sheet shows only wrong images, those of greatest odds first."""
    images = np.zeros((40, 8, 8, 3), "uint8")
    images[3] = RED
    right = np.tile([0.9, 0.1], (40, 1))
    for name, wrong, seen in [("none", [], 0), ("other", [4], 0),
                              ("red", [3], 1), ("both", [3, 4], 1)]:
        p = right.copy()
        p[wrong] = [0.2, 0.8]
        mistakes.draw(images, p, np.zeros(40, int), ["a", "$b"],
                      tmp_path / name)
        reds = (picture(tmp_path / name) == RED).all(axis=2)
        assert reds.any() == seen, name
    p[:] = [0.1, 0.9]    # all are wrong; the red one is the least confident
    p[3] = [0.4, 0.6]
    mistakes.draw(images, p, np.zeros(40, int), ["a", "b"],
                  tmp_path / "all")
    assert not (picture(tmp_path / "all") == RED).all(axis=2).any()
    p[:] = [1e-20, 1]    # every confidence is 1.00; the red one is the worst
    p[3, 0] = 1e-30
    mistakes.draw(images, p, np.zeros(40, int), ["a", "b"],
                  tmp_path / "all")
    assert (picture(tmp_path / "all") == RED).all(axis=2).any()


def test_charts_follow_their_numbers(tmp_path):
    """Other numbers give another picture; equal numbers, equal bytes."""
    epochs = {name: [0.5, 0.9, 0.7] for name in
              ("accuracy", "val_accuracy", "loss", "val_loss")}
    labels = np.array([0, 1, 1, 2])

    def draw(name, epochs, predicted):
        """Return the bytes of both pictures."""
        charts.history(epochs, tmp_path / name)
        matrix.draw(labels, np.array(predicted), np.array([0, 2, 1]),
                    ["a", "$b$", "裾"], tmp_path / f"{name}2")
        return [(tmp_path / f"{name}{k}").read_bytes() for k in ("", "2")]

    first = draw("a", epochs, [0, 1, 2, 2])
    assert draw("b", epochs, [0, 1, 2, 2]) == first
    other = draw("c", {**epochs, "val_accuracy": [0.5, 0.7, 0.9]},
                 [0, 1, 1, 2])
    assert all(old != new for old, new in zip(first, other))
    tails = [draw("d", {**epochs, "part": ["head"] * k + ["tail"] * (3 - k)},
                  [0, 1, 2, 2])[0] for k in (1, 2, 3)]
    assert len(set(tails)) == 3 and tails[2] == first[0]


def test_augmentation_is_for_training_only():
    """Images change in training only."""
    images = np.random.default_rng(0).integers(
        0, 256, (64, 16, 16, 3)).astype("float32")
    given = keras.Input((16, 16, 3))
    settings = dict(side=16, flip=False, shift=0.0, zoom=0.0,
                    learning_rate=0.1, batch_size=1, epochs=1, seed=0,
                    patience=1)
    for kind in ({"flip": True}, {"shift": 0.2}, {"zoom": 0.3}):
        model = convnet.augmented(keras.Model(given, given * 1),
                                  compare.Convnet(**{**settings, **kind}))
        assert np.array_equal(model(images, training=False), images)
        assert not np.array_equal(model(images, training=True), images)
    net, trunk = convnet.build(16, 3)
    assert not any("Random" in type(layer).__name__ for layer in net.layers)
    assert net.count_params() == trunk.count_params() + 128 * 3 + 3
