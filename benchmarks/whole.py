#!/usr/bin/env python3
"""The whole of `dvc repro`: against the forward pass, and what a change costs.

Usage: benchmarks/whole.py [IMAGES]

Runs CIFAR-10 at the defaults in a new clone (see tests/real_data.py), then a
new learning rate.  With IMAGES, so many train images are written as JPEG
files, run, and run again with 5 more.  Needs Linux.
"""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import predicting  # noqa: E402
import psutil  # noqa: E402
import real_data  # noqa: E402
from conftest import clone, environment  # noqa: E402

RATE = "train.learning_rate=0.0021"
MORE = 5


def _stages(process):
    """Return the stages that run below a process; a shell may start them."""
    names = set()
    with contextlib.suppress(psutil.Error):    # it has ended
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                names |= {word.split(".")[1] for word in child.cmdline()
                          if word.startswith("stages.")}
    return names


def clocked(project, *words):
    """Return seconds of `dvc exp run` in all, of each stage, and of DVC.

    Args:
        project: `conftest.Project`.
        words: settings.
    """
    begin, taken = time.perf_counter(), {}
    running = subprocess.Popen(
        ["dvc", "exp", "run", "--quiet",
         *(word for setting in words for word in ("-S", setting))],
        cwd=project.path, env=environment(), stdout=subprocess.DEVNULL)
    process, last = psutil.Process(running.pid), begin
    while running.poll() is None:
        time.sleep(0.25)    # looking takes processor time
        now = time.perf_counter()
        for name in _stages(process):
            taken[name] = taken.get(name, 0) + now - last
        last = now
    if running.wait():
        sys.exit(f"dvc exp run in {project.path} failed")
    total = time.perf_counter() - begin
    return {"total": total, **taken, "dvc": total - sum(taken.values())}


def forward(project):
    """Return the images a second of the frozen part, the best of 5 rounds."""
    before = os.getcwd()
    os.chdir(project.path)
    try:
        run = predicting.extraction()
        return predicting.IMAGES / min(    # the first also warms up
            predicting.seconds(run) for _ in range(5))
    finally:
        os.chdir(before)


def repro(source, weights):
    """All stages against the forward pass alone, and a new learning rate."""
    shutil.rmtree(os.path.join(real_data.BUILD, "project"),
                  ignore_errors=True)
    project = clone(os.path.join(real_data.BUILD, "project"))
    first = clocked(project, f"data.source={source}",
                    f"backbone.weights={weights}")
    rate = forward(project)
    again = clocked(project, RATE)
    return {"first": first, "images_per_second": rate,
            "forward": 60000 / rate,
            "ratio_at_most_1.4": first["total"] * rate / 60000,
            "new_learning_rate": again,
            "new_rate_to_forward": again["total"] * rate / 60000}


def update(source, weights, count):
    """A folder of JPEG files, and the same folder with 5 more."""
    import numpy as np
    from PIL import Image
    folder = os.path.join(real_data.BUILD, "jpeg")
    shutil.rmtree(folder, ignore_errors=True)
    with np.load(source) as data:
        images, labels = data["x_train"], data["y_train"].ravel()

    def write(rows):
        """Write some images of train as files."""
        for row in rows:
            path = f"{folder}/class {labels[row % len(labels)]}/{row}.jpg"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            picture = images[row % len(images)].copy()
            picture[0, 0, 0] ^= row // len(images)    # no copies
            Image.fromarray(picture).save(path, quality=95)

    write(range(MORE, count))
    shutil.rmtree(os.path.join(real_data.BUILD, "project"),
                  ignore_errors=True)
    project = clone(os.path.join(real_data.BUILD, "project"))
    words = [f"data.source={folder}", f"backbone.weights={weights}"]
    first = clocked(project, *words)
    write(range(MORE))
    again = clocked(project, *words)
    return {"first": first, f"with_{MORE}_more": again,
            "ratio_at_most_0.125": again["total"] / first["total"]}


def main(count=0):
    """Print both as JSON."""
    source, weights = real_data.unpack()
    print(json.dumps(repro(source, weights), indent=1), flush=True)
    if int(count):
        print(json.dumps(update(source, weights, int(count)), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
