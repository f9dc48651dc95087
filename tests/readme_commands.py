#!/usr/bin/env python3
"""The README's demo and its commands.

Not part of the suite: `python -m pytest tests/readme_commands.py`.
"""
import os
import re
import sys
import time

import pytest
from conftest import Project
from test_readme import (
    BY_OTHERS, cluster_commands, command_lines, photographs, table_command)

SMALLER = {    # the same commands, in a fraction of the time
    "train.epochs=40": "train.epochs=2", "train.epochs=60": "train.epochs=2",
    "resize.side=224 -S": "resize.side=32 -S",
    "tail.epochs=8": "tail.epochs=1", "tail.epochs=6": "tail.epochs=1",
    "hflip,left,right,hflip+up,hflip+down": "hflip",
    "hflip,left+up,hflip+right+down": "left+up"}


def tiny_model(path):
    """Save a Keras model that can be cut where the README cuts one."""
    from stages.lib.common import keras_runtime
    from stages.lib.common.keras_runtime import keras
    keras_runtime.reset(seed=0)
    keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, strides=2, padding="same",
                            name="block8_project"),
        keras.layers.BatchNormalization(name="block8_project_bn"),
        keras.layers.Conv2D(16, 3, activation="relu", name="head_conv"),
        ]).save(path)


def run_commands(project, finished):
    """Run the commands of the README in its order, on tiny data.

    Args:
        project: `Project`, a copy of `finished`.
        finished: `Project` with the tiny data set and weights beside it.

    Returns:
        A dict: command -> its output.
    """
    os.symlink(sys.prefix, project.file(".venv"))
    tiny_model(f"{project.folder}/efficientnet_lite0_notop.h5")
    out, tiny = {}, {
        "/absolute/path/cifar10.npz": f"{finished.folder}/tiny.npz",
        "/absolute/path/mobilenet_7_5_224_tf_no_top.h5":
            f"{finished.folder}/tiny.h5",
        "/absolute/path": project.folder,    # also that of the tiny model
        "make ": "make -o .venv/complete ", **SMALLER}
    for command in command_lines():
        if command in {*BY_OTHERS, *photographs(), table_command(),
                       *cluster_commands()}:
            continue
        small = command
        for much, little in tiny.items():
            small = small.replace(much, little)
        done = project.run(small)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        out[command] = done.stdout
        if command == "dvc queue start":
            finish(project)
    return out


def shared(project):
    """Whoever has the commit and the storage computes nothing again."""
    project.run("git add --all; git commit --quiet --message shared")
    other = Project(f"{project.folder}/other")
    project.run(f"git clone --quiet . {other.path}")
    done = other.run("dvc pull --run-cache")
    assert done.returncode == 0, done.stdout
    done = other.run("dvc repro")
    assert done.returncode == 0, done.stdout
    assert "extract: computes 0 of" in done.stdout    # links a saved model
    assert set(re.findall(r"Running stage '(\w+)'", done.stdout)) == {
        "resize", "extract"}
    assert other.md5() == project.md5()


def finish(project):
    """Wait until no experiment is queued or running."""
    for _ in range(120):
        status = project.run("dvc queue status").stdout
        if not re.search("Queued|Running", status):
            return
        time.sleep(5)    # the status takes a second of a core
    pytest.fail(status)


def test_demo(project):
    """`make demo` ends with metrics and a model, and changes nothing."""
    os.symlink(sys.prefix, project.file(".venv"))
    before = project.run("git status --short; cat dvc.lock").stdout
    done = project.run("make -o .venv/complete demo")
    assert done.returncode == 0, done.stdout
    assert "test.accuracy" in done.stdout
    demo = Project(project.file("build/demo"))
    accuracy = float(re.search(r"test accuracy (0\.\d+)", done.stdout)[1])
    assert accuracy >= 0.9
    assert os.path.getsize(demo.file("cifar10.h5")) > 1e6
    assert project.run("git status --short; cat dvc.lock").stdout == before


def test_commands(project, finished):
    """The commands run in the README's order, on tiny data."""
    out = run_commands(project, finished)
    for much in SMALLER:
        assert any(much in command for command in out), much
    assert "test.accuracy" in out["dvc metrics show"]
    assert "extract: computes 0 of" in out["make plan"]
    assert out["make verify"] == out["make repair"]    # nothing is damaged
    assert "cifar10.h5: test accuracy" in out["./0-transfer.py"]
    assert re.search(r"learning_rate\s+0.01\s+0.001", out["dvc params diff"])
    assert re.search(r"test.accuracy\s+0\.\d+\s+0\.\d+\s+-?[0-9.e-]+\n",
                     out["dvc metrics diff"])
    assert "ConvNet, test: accuracy" in out["dvc --cd compare repro"]
    assert out["dvc queue status"].count("Success") == 2
    shown = project.run("dvc exp show --csv").stdout
    for rate in ("0.0005", "0.005"):
        assert rate in shown
    shared(project)
    page = project.file("dvc_plots/index.html")
    with open(page, encoding="utf-8") as file:
        html = file.read()
    for title in ("Accuracy, train against validation", "Confusion of the",
                  "Loss, train against validation", "accuracy by class"):
        assert title in html
