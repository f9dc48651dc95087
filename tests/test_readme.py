#!/usr/bin/env python3
"""The README's Python runs; its commands: readme_commands.py."""
import os
import re

from conftest import ROOT

BY_OTHERS = {    # run by whoever runs this test
    "make setup", "make test", "make demo", ". .venv/bin/activate"}


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


def test_commands_others_run():
    """The commands that readme_commands.py skips are in the README."""
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
