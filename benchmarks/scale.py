#!/usr/bin/env python3
"""Seconds and memory of each stage, and the doctor, for a million images.

Usage: benchmarks/scale.py [--files] [ROWS …]

Noise images of 32 px in 10 classes, as one .npz file, or as a table of PNG
files of 8 px, go through the stages and `inspect_features` in a clone of this
project, with a tiny backbone.  Memory is the largest anonymous memory of a
process and its children; files that are memory-mapped are not part of it.
Needs Linux.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from PIL import Image  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

FOLDER = os.path.join(ROOT, "build", "scale")
MODULES = (*(f"stages.{name}" for name in (
    "prepare", "resize", "extract", "train", "fuse", "evaluate")),
    "commands.inspect_features")
CLASSES, SIDE, BLOCK = 10, 32, 10000
PARAMS = {
    "data": {"validation_fraction": 0.04, "test_fraction": 0.04},
    "resize": {"side": SIDE},
    "backbone": {"application": "MobileNet", "options": {"alpha": 0.25},
                 "weights": "models/weights/random.yaml"},
    "extract": {"layers": ["top"]},
    "train": {"epochs": 2}, "export": {"formats": []}}


def clone(source):
    """Make a clone of this project that reads `source`; return its folder."""
    project = os.path.join(FOLDER, "project")
    shutil.rmtree(project, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", ROOT, project], check=True)
    yaml, path = YAML(), os.path.join(project, "params.yaml")
    with open(path, encoding="utf-8") as file:
        given = yaml.load(file)
    for group, values in {**PARAMS, "data": {
            **PARAMS["data"], "source": source}}.items():
        given[group].update(values)
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(given, file)
    return project


def noise(random, count, side):
    """Return images, uint8 (count, side, side, 3), and labels, uint8."""
    labels = random.integers(CLASSES, size=count, dtype=np.uint8)
    images = random.integers(256, size=(count, side, side, 3), dtype=np.uint8)
    images[..., 0] = images[..., 0] // 8 + 20 * labels[:, None, None]
    return images, labels


def arrays(rows):
    """Write an .npz file of `rows` images; return its path."""
    random, path = np.random.default_rng(0), os.path.join(FOLDER, "x.npy")
    x = np.lib.format.open_memmap(path, "w+", np.uint8,
                                  (rows, SIDE, SIDE, 3))
    y = np.empty(rows, np.uint8)
    for k in range(0, rows, BLOCK):
        count = min(BLOCK, rows - k)
        x[k:k + count], y[k:k + count] = noise(random, count, SIDE)
    np.savez(os.path.join(FOLDER, "noise.npz"), x_train=x, y_train=y)
    os.unlink(path)
    return os.path.join(FOLDER, "noise.npz")


def files(rows):
    """Write `rows` PNG files and a table; return its path."""
    random = np.random.default_rng(0)
    path = os.path.join(FOLDER, "noise.csv")
    with open(path, "w", encoding="utf-8") as table:
        table.write("image,label\n")
        for k in range(0, rows, BLOCK):
            os.makedirs(f"{FOLDER}/noise/{k}", exist_ok=True)
            images, labels = noise(random, min(BLOCK, rows - k), 8)
            for number, (image, label) in enumerate(zip(images, labels)):
                name = f"noise/{k}/{number}.png"
                Image.fromarray(image).save(os.path.join(FOLDER, name))
                table.write(f"{name},class {label}\n")
    return path


def anonymous(process):
    """Return the bytes of anonymous memory of a process and its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            with open(f"/proc/{one.pid}/status", encoding="utf-8") as file:
                total += sum(1024 * int(line.split()[1]) for line in file
                             if line.startswith("RssAnon"))
        except (OSError, psutil.Error):    # it has ended
            continue
    return total


def measure(project, module):
    """Run a module; return its seconds and its largest anonymous memory."""
    begin, largest = time.monotonic(), 0
    running = subprocess.Popen([sys.executable, "-m", module],
                               cwd=project, stdout=subprocess.DEVNULL)
    process = psutil.Process(running.pid)
    while running.poll() is None:
        time.sleep(0.2)    # first: a process begins as a copy of this one
        try:
            largest = max(largest, anonymous(process))
        except psutil.Error:
            break
    if running.wait():
        sys.exit(f"{module} failed")
    return {"seconds": time.monotonic() - begin, "memory_gb": largest / 1e9}


def stages(rows, source=arrays):
    """Run all stages, then the doctor; yield the name and figures of each.

    Args:
        rows: number of images.
        source: `arrays` or `files`.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    project = clone(source(rows))
    for module in MODULES:
        yield module.split(".")[1], measure(project, module)
    shutil.rmtree(FOLDER)


def million(rows=1_281_167):
    """Stages and doctor: as many images as ImageNet has, against a tenth.

    The features, 256 of float32 an image, may be in memory once.
    """
    small, large = dict(stages(rows // 10)), dict(stages(rows))
    took = [sum(one["seconds"] for one in found.values())
            for found in (small, large)]
    return {"images": rows, **large,
            "time_to_linear_at_most_1": took[1] / took[0] / 10,
            f"memory_gb_at_most_{1.5 + 1024 * rows / 1e9:.1f}": max(
                one["memory_gb"] for one in large.values())}


def main():
    """Print a line for each stage and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", action="store_true")
    parser.add_argument("rows", type=int, nargs="*",
                        default=[100_000, 1_281_167])
    given = parser.parse_args()
    for rows in given.rows:
        for name, one in stages(rows, files if given.files else arrays):
            print(f"{rows:,} images: {name}: {one['seconds']:.1f} s, "
                  f"{1e6 * one['seconds'] / rows:.1f} s a million; "
                  f"{one['memory_gb']:.2f} GB of memory", flush=True)


if __name__ == "__main__":
    main()
