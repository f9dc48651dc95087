#!/usr/bin/env python3
"""Photographs from files to pixels, in a separate project."""
import json
import os
import shutil

import real_data
from conftest import clone

FOLDER = os.path.join(real_data.BUILD, "decoding")
PHOTOGRAPHS = os.path.join(real_data.DATA, "clothing")
COPIES = 8    # of the 750 of train
SIDES = "150 224"


def measure():
    """Return the results of `timed_decoding.py`."""
    shutil.rmtree(FOLDER, ignore_errors=True)    # of a killed run
    project = clone(FOLDER)
    folder = project.file("photographs")
    for k in range(COPIES):
        shutil.copytree(
            os.path.join(PHOTOGRAPHS, "train"), os.path.join(folder, "train"),
            dirs_exist_ok=True, copy_function=lambda source, target, k=k:
            shutil.copy(source, f"{target[:-4]}_{k}.jpg"))
    for split in ("validation", "test"):    # so train stays whole
        shutil.copytree(os.path.join(PHOTOGRAPHS, "validation"),
                        os.path.join(folder, split))
    project.set(data__source=folder)
    for command in ("stages.prepare", f"benchmarks.timed_decoding {SIDES}"):
        done = project.run(f"python -m {command}")
        assert done.returncode == 0, done.stdout
    shutil.rmtree(FOLDER)
    return json.loads(done.stdout.splitlines()[-1])
