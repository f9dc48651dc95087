#!/usr/bin/env python3
"""Every command and every piece of Python in the README works."""
import os
import re
import sys
import time

import pytest
from conftest import ROOT

BY_OTHERS = {    # run by whoever runs this test
    "make setup", "make test", "make demo", ". .venv/bin/activate"}
SMALLER = {    # the same commands, in a fraction of the time
    "resize.side=128": "resize.side=32", "train.epochs=40": "train.epochs=2",
    "resize.side=224 -S 'extract": "resize.side=32 -S 'extract",
    "train.epochs=60": "train.epochs=2",
    "train.epochs=20": "train.epochs=1", "tail.epochs=10": "tail.epochs=1",
    "hflip,left,right,hflip+up,hflip+down": "hflip",
    "hflip,left+up,hflip+right+down": "left+up"}
# tests/readme_experiments.py runs these commands, behind the suite.
LONG = re.compile("queue|exp show|[.]views|extract.layers|export.formats|"
                  "--cd compare")


def blocks(language):
    """Return the code blocks of the README in `language`."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```", file.read(),
                          re.M | re.S)


def command_lines():
    """Return the commands of the README, in order."""
    return [line for block in blocks("sh") for line in block.splitlines()]


def photographs():
    """Return the commands about photographs, which test_folder.py runs."""
    return next(block for block in blocks("sh")
                if "photographs" in block).splitlines()


def table_command():
    """Return the command about a table, which test_sources.py runs."""
    return next(line for line in command_lines() if "labels.csv" in line)


def cluster_commands():
    """Return the commands about a cluster, which tests/cluster.py runs."""
    return next(block for block in blocks("sh")
                if "ray start" in block).splitlines()


def run_commands(project, finished, long):
    """Run commands of the README in its order, on tiny data.

    Args:
        project: `Project`, a copy of `finished`.
        finished: `Project` with the tiny data set and weights beside it.
        long: whether to run those of `LONG`, or the others.

    Returns:
        A dict: command -> its output.
    """
    os.symlink(sys.prefix, project.file(".venv"))
    out, tiny = {}, {
        "/absolute/path/cifar10.npz": f"{finished.folder}/tiny.npz",
        "/absolute/path/mobilenet_7_5_224_tf_no_top.h5":
            f"{finished.folder}/tiny.h5",
        "/absolute/path": project.folder,
        "make ": "make -o .venv/complete ", **SMALLER}
    for command in command_lines():
        if command in {*BY_OTHERS, *photographs(), table_command(),
                       *cluster_commands()} or (
                bool(LONG.search(command)) != long):
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


def finish(project):
    """Wait until no experiment is queued or running."""
    for _ in range(40):
        status = project.run("dvc queue status").stdout
        if not re.search("Queued|Running", status):
            return
        time.sleep(5)    # the status takes a second of a core
    pytest.fail(status)


def test_commands_others_run():
    """The commands that this module skips are in the README."""
    assert BY_OTHERS < set(command_lines())


def test_python(project, finished):
    """The Python blocks run.

    Keras' download gives the tiny data set.
    """
    download = f"""
import numpy
from tensorflow import keras
tiny = numpy.load({finished.folder + '/tiny.npz'!r})
keras.datasets.cifar10.load_data = lambda: (
    (tiny["x_train"], tiny["y_train"]), (tiny["x_test"], tiny["y_test"]))
"""
    for code in blocks("python"):
        with open(project.file("piece.py"), "w", encoding="utf-8") as file:
            file.write((download if "load_data" in code else "") + code)
        done = project.run("python piece.py")
        assert done.returncode == 0, done.stdout


def test_commands(project, finished):
    """The commands run in the README's order, on tiny data."""
    out = run_commands(project, finished, long=False)
    assert "test.accuracy" in out["dvc metrics show"]
    assert "extract: computes 0 of" in out["make plan"]
    assert out["make verify"] == out["make repair"]    # nothing is damaged
    assert "cifar10.h5: test accuracy" in out["./0-transfer.py"]
    assert re.search(r"learning_rate\s+0.01\s+0.001", out["dvc params diff"])
    assert re.search(r"test.accuracy\s+0\.\d+\s+0\.\d+\s+-?[0-9.e-]+\n",
                     out["dvc metrics diff"])
    page = project.file("dvc_plots/index.html")
    with open(page, encoding="utf-8") as file:
        html = file.read()
    for title in ("Accuracy, train against validation", "Confusion of the",
                  "Loss, train against validation", "accuracy by class"):
        assert title in html
