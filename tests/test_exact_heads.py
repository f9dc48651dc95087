#!/usr/bin/env python3
"""Heads that are solved: against scikit-learn, and through all stages."""
import csv
import glob
import json
import os
import re
import types

import h5py
import numpy as np
import psutil
import pytest
from conftest import stage
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.utils.class_weight import compute_sample_weight
from tensorboard.backend.event_processing.event_accumulator import \
    EventAccumulator

from stages.lib.common import seals
from stages.lib.training import temperature as temperatures

PENALTIES = [1, 0.03, 0.001]
MODELS = {    # penalty, weights of the images -> scikit-learn's model
    "ridge": lambda penalty, weights: RidgeClassifier(
        alpha=penalty * weights.sum(), solver="cholesky"),
    "logistic": lambda penalty, weights: LogisticRegression(
        C=1 / (penalty * weights.sum()), tol=1e-12, max_iter=10_000,
        solver="newton-cg")}
CLOSE = {"ridge": 1e-6, "logistic": 1e-4}    # of the largest prediction


def run(project, monkeypatch, *names):
    """Run stages in this process; each must succeed."""
    for name in names:
        assert stage(project, monkeypatch, name) is None, name


def read(project, *splits):
    """Return features and labels of splits, or of views of train, stacked."""
    labels = ["train" if "/" in split else split for split in splits]
    return (np.concatenate([np.load(project.file(f"features/{split}_x.npy"))
                            for split in splits]),
            np.concatenate([np.load(project.file(
                f"data/prepared/{split}_y.npy")) for split in labels]))


def history(project):
    """Return the rows of results/history.csv."""
    with open(project.file("results/history.csv"), encoding="utf-8") as file:
        return list(csv.DictReader(file))


def metrics():
    """Return results/metrics.json."""
    with open("results/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def head(project):
    """Return functions of features: normalised, and logits; both float64."""
    with h5py.File(project.file("models/head.h5")) as file:
        normal = file["model_weights/head_normalization"]
        mean, deviation = normal["mean:0"][()], normal["variance:0"][()]**0.5
        last = file["model_weights/head_output/head_output"]
        kernel, bias = last["kernel:0"][()], last["bias:0"][()]

    def normalised(x):
        """Return the normalised features."""
        return (x.astype("float64") - mean) / deviation

    return normalised, lambda x: (
        normalised(x) @ kernel.astype("float64") + bias)


def agree(solver, logits, fitted, z):
    """Check the logits of a head against those of scikit-learn.

    They are multiplied by a number, because a temperature divides them, and
    may differ by one for each image, which changes no probability.
    """
    expected = fitted.decision_function(z)
    for array in (logits, expected):
        array -= array.mean(axis=1, keepdims=True)
    scale = (logits * expected).sum() / (logits**2).sum()
    assert scale > 0
    largest = np.abs(expected).max()
    assert np.abs(scale * logits - expected).max() <= CLOSE[solver] * largest


@pytest.mark.parametrize("solver, views", [
    ("ridge", ["identity", "hflip"]), ("logistic", ["identity"])])
@pytest.mark.slow
def test_solvers(project, monkeypatch, solver, views):
    """The head of each penalty, the choice, and the second fit are right.

    Classes are of unequal size, and weighted.  The views of an image share
    its weight.  All stages after `train` work as ever.
    """
    project.set(extract__views=views, train__solver=solver,
                train__penalties=PENALTIES[::-1],
                train__class_weights="balanced",
                train__output="logits" if solver == "ridge" else "softmax")
    monkeypatch.chdir(project.path)
    path = "data/prepared/train_y.npy"
    labels = np.load(path)
    labels[np.flatnonzero(labels == 3)[::2]] = 4
    os.unlink(path)    # never write in place: it may be a hard link
    np.save(path, labels)
    seals.write("stages/prepare.py")
    run(project, monkeypatch, "extract", "train", "evaluate")

    (x, y), (xv, yv) = read(project, "train"), read(project, "validation")
    normalised, logits = head(project)
    rows = read(project, "train", *(f"views/{view}" for view in views[1:]))
    weights = compute_sample_weight("balanced", rows[1]) / len(views)
    models = [MODELS[solver](penalty, weights).fit(
        normalised(rows[0]), rows[1], weights)
        for penalty in PENALTIES]
    table = history(project)
    assert [row["part"] for row in table] == [
        "penalty 1", "penalty 0.03", "penalty 0.001"]
    best = int(np.argmax([float(row["val_accuracy"]) for row in table]))
    for k, (row, model) in enumerate(zip(table, models)):
        exact = solver == "ridge" or k == best    # others to 2 digits
        assert float(row["val_accuracy"]) == pytest.approx(model.score(
            normalised(xv), yv), abs=0 if exact else 0.1)
        assert float(row["accuracy"]) == pytest.approx(model.score(
            normalised(x), y), abs=0 if exact else 0.05)
    agree(solver, logits(xv), models[best], normalised(xv))
    check_log()
    before, scores = temperatures.read(), metrics()["validation"]
    assert scores["accuracy"] == float(table[best]["val_accuracy"])

    project.set(train__refit=True)
    run(project, monkeypatch, "train", "fuse", "evaluate")
    rows = [np.concatenate(pair) for pair in zip(rows, (xv, yv))]
    weights = np.append(weights, len(y) / 10 / np.bincount(y)[yv])
    _, logits = head(project)
    model = MODELS[solver](PENALTIES[best], weights)
    agree(solver, logits(xv), model.fit(normalised(rows[0]), rows[1],
                                        weights), normalised(xv))
    assert history(project) == table and temperatures.read() == before
    assert metrics()["validation"] == pytest.approx(scores, abs=1e-6)


def check_log():
    """TensorBoard shows a step for each penalty."""
    for split in ("train", "validation"):
        log = EventAccumulator(sorted(glob.glob(f"logs/train/*/{split}"))[-1])
        log.Reload()
        for name in ("accuracy", "loss"):
            events = log.Tensors(f"epoch_{name}")
            assert [event.step for event in events] == [0, 1, 2]


@pytest.mark.parametrize("values, pattern", [
    ({"refit": True}, "params.yaml: train: refit needs the solver ridge or "),
    ({"penalties": []}, "params.yaml: train.penalties: .*at least 1 item"),
    ({"penalties": [0.0]}, r"params.yaml: train.penalties.0: .*than 0, not"),
    ({"weight_decay": -0.1}, "params.yaml: train.weight_decay: .*, not -0.1"),
    ({"solver": "ridge", "cut": "conv_pw_5_relu"}, "params.yaml: train: the "
     "solver ridge fits .*: set backbone.cut to top, not 'conv_pw_5_relu'"),
    ({"solver": "ridge", "penalties": [1e-300]},
     "train.penalties: 1e-300 is too small to be solved; remove it"),
    ({"solver": "ridge", "free": 1000}, r"ridge needs [\d.]+ MB of memory, "
     "1 kB are free: set train.solver to gradient"),
    ({"solver": "logistic", "free": 1000}, "logistic needs .* MB of memory, "
     "1 kB are free: set train.solver to ridge, which keeps no rows in mem")])
def test_refused(project, monkeypatch, values, pattern):
    """What cannot be solved is refused in one line; the head stays."""
    if "free" in values:
        memory = types.SimpleNamespace(available=values.pop("free"))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    if "cut" in values:
        project.set(backbone__cut=values.pop("cut"))
    project.set(**{f"train__{name}": value for name, value in values.items()})
    before = os.stat(project.file("models/head.h5")).st_ino
    line = stage(project, monkeypatch, "train")
    assert isinstance(line, str) and "\n" not in line
    assert re.match("train: " + pattern, line), line
    assert os.stat(project.file("models/head.h5")).st_ino == before


def test_weight_decay(project, monkeypatch):
    """It makes the weights of the head smaller, whatever the optimizer."""
    def squares():
        """Train; return the sum of squares of the first kernel."""
        run(project, monkeypatch, "train")
        with h5py.File("models/head.h5") as file:
            return (file["model_weights/head_hidden_1/head_hidden_1/kernel:0"
                         ][()]**2).sum()

    project.set(train__input_dropout=0.1, train__epochs=5)
    before = squares()
    project.set(train__weight_decay=0.5)
    assert squares() < 0.9 * before
