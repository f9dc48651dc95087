#!/usr/bin/env python3
"""The pipeline on real CIFAR-10 with real weights, and the task's checker.

Usage: tests/real_data.py

Needs ../shared/data; without it, prints SKIPPED, or fails if the environment
contains REAL_DATA=required.  Works in a clone under build/real and keeps it.
"""
import json
import os
import shutil
import subprocess
import sys

from conftest import ROOT, check, clone, environment

DATA = os.path.join(ROOT, "..", "shared", "data")
BUILD = os.path.join(ROOT, "build", "real")
WEIGHTS = "mobilenet_7_5_224_tf_no_top.h5"


def available():
    """Return whether the real data exist; exit if they are required."""
    if os.path.isdir(DATA):
        return True
    if os.environ.get("REAL_DATA") == "required":
        sys.exit(f"real data: {os.path.relpath(DATA, ROOT)} is missing")
    print("real data: SKIPPED, ../shared/data is not there")
    return False


def unpack():
    """Return the paths of CIFAR-10 as `.npz` and of the weights."""
    source = os.path.join(BUILD, "cifar10.npz")
    os.makedirs(BUILD, exist_ok=True)
    subprocess.run([sys.executable, os.path.join(DATA, "unpack_cifar10.py"),
                    source], check=True)
    return source, os.path.realpath(os.path.join(DATA, "weights", WEIGHTS))


def experiment(source, weights, *settings):
    """Run the pipeline in a new clone with `settings`; return the project."""
    shutil.rmtree(os.path.join(BUILD, "project"), ignore_errors=True)
    project = clone(os.path.join(BUILD, "project"))
    words = [f"data.source={source}", f"backbone.weights={weights}", *settings]
    subprocess.run(["dvc", "exp", "run", "--quiet",
                    *(word for setting in words for word in ("-S", setting))],
                   cwd=project.path, env=environment(), check=True)
    return project


def main():
    """Run the pipeline at its defaults, check what the task checks."""
    if not available():
        return
    source, weights = unpack()
    project = experiment(source, weights)
    loss, accuracy = check(project, source)
    with open(project.file("results/metrics.json"), encoding="utf-8") as file:
        scored = json.load(file)["test"]["accuracy"]
    with open(project.file("results/parity.json"), encoding="utf-8") as file:
        parity = json.load(file)
    print(f"real data: checker: accuracy {accuracy:.4f}, loss {loss:.4f}; "
          f"results: accuracy {scored:.4f}; parity: {parity}")
    if accuracy < 0.9 or abs(accuracy - scored) > 0.001:
        sys.exit("real data: FAILED: an accuracy of at least 0.9 is "
                 "required, and a difference of at most 0.001")
    print("real data: PASSED")


if __name__ == "__main__":
    main()
