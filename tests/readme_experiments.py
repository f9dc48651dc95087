#!/usr/bin/env python3
"""The README's demo, and its commands that run whole experiments.

Not part of the suite: `python -m pytest tests/readme_experiments.py`.
"""
import os
import re
import sys

from conftest import Project
from test_readme import SMALLER, run_commands


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


def test_experiments(project, finished):
    """The queue, cached views, the tail and the ConvNet, on tiny data."""
    out = run_commands(project, finished, long=True)
    for much in SMALLER:
        assert any(much in command for command in out), much
    assert "ConvNet, test: accuracy" in out["dvc --cd compare repro"]
    assert out["dvc queue status"].count("Success") == 2
    shown = project.run("dvc exp show --csv").stdout
    for rate in ("0.0005", "0.005"):
        assert rate in shown
