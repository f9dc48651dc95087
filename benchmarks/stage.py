#!/usr/bin/env python3
"""The whole stage `extract` against its engine; memory; known rows."""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import real_data
from conftest import clone, environment

FOLDER = os.path.join(real_data.BUILD, "stage")
TIMED = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "timed_extract.py")
SHARE = 100    # 1 image of these is replaced


def some(source, images, path, replaced=0):
    """Write the first `images` real ones to `path`, four fifths as train.

    The first `replaced` of train become their negatives: other images.
    """
    train = images * 4 // 5
    with np.load(source) as data:
        arrays = {"x_train": data["x_train"][:train],
                  "y_train": data["y_train"][:train],
                  "x_test": data["x_test"][:images - train],
                  "y_test": data["y_test"][:images - train]}
    arrays["x_train"][:replaced] = 255 - arrays["x_train"][:replaced]
    np.savez(path, **arrays)


def extract(project):
    """Resize, then run `extract`; return its times and memory."""
    subprocess.run(["dvc", "repro", "--quiet", "resize"], cwd=project.path,
                   env=environment(), check=True)
    done = subprocess.run([sys.executable, TIMED], cwd=project.path,
                          env=environment(), check=True, text=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def measure(source, weights, engine_rate, images=50_000):
    """Return the figures of the stage.

    Args:
        engine_rate: images per second of the engine alone.
        images: of the larger data set; the smaller has a tenth.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    data = os.path.join(FOLDER, "images.npz")
    found = {}
    for name, count in [("small", images // 10), ("large", images)]:
        project = clone(os.path.join(FOLDER, name))
        project.set(data__source=data, backbone__weights=weights,
                    extract__layers=["top"])    # as the engine alone
        some(source, count, data)
        found[name] = extract(project)
    first = found["large"]
    again = extract(project)
    some(source, images, data, replaced=images // SHARE)
    other = extract(project)
    rate = images / first["work"]
    return {
        "start_up_with_conversion_seconds": first["start_up"],
        "start_up_seconds": again["start_up"],
        "stage_images_per_second": rate,
        "share_of_engine_at_least_0.9": rate / engine_rate,
        "anonymous_mb_small": found["small"]["anonymous_mb"],
        "anonymous_mb_large": first["anonymous_mb"],
        "anonymous_mb_grown_below_50": (first["anonymous_mb"]
                                        - found["small"]["anonymous_mb"]),
        "nothing_new_seconds": again["work"],
        "nothing_new_share_at_most_0.03": again["work"] / first["work"],
        "one_percent_new_seconds": other["work"],
        "one_percent_new_share_at_most_0.06": other["work"] / first["work"]}
