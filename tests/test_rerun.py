#!/usr/bin/env python3
"""The README's table of what runs again, by real `dvc repro` runs."""
import os
import re

import numpy as np
from conftest import ROOT, tiny_arrays


def table():
    """Return change -> stages, from the README."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read().split("| change | stages that run |\n", 1)[1]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", text.split("\n\n")[0], re.M)
    return {change: [] if stages == "nothing" else stages.split(", ")
            for change, stages in rows}


def comment(project):
    """Write a comment into params.yaml."""
    with open(project.file("params.yaml"), "a", encoding="utf-8") as file:
        file.write("# A remark.\n")


def other_data(project):
    """Bring a data set that lacks one image."""
    arrays = tiny_arrays()
    arrays.update(x_train=arrays["x_train"][1:],
                  y_train=arrays["y_train"][1:])
    np.savez(project.file("other.npz"), **arrays)
    project.set(data__source="other.npz")


CHANGES = {
    "a comment in `params.yaml`": comment,
    "`train.learning_rate`": lambda project: project.set(
        train__learning_rate=0.02),
    "`backbone.application`, `extract.dtype`, `.engine`, `.layers`":
        lambda project: project.set(
            backbone__application="SimpleCNN", backbone__options={},
            backbone__weights="models/weights/random.yaml",
            extract__dtype="float16", extract__engine="tensorflow",
            extract__layers=["stages"]),
    "`resize.side`": lambda project: project.set(resize__side=40),
    "the data": other_data,
    "all parameters back to earlier values": lambda project: (
        project.run("git checkout params.yaml")),
}


def test_what_runs_again(project):
    """Each change, one after the other, runs the stages of its row."""
    before = project.md5()
    expected = table()
    assert list(expected) == list(CHANGES)
    for change, make in CHANGES.items():
        make(project)
        assert project.repro() == expected[change], change
    assert project.md5() == before
    assert "up to date" in project.run("dvc status").stdout
