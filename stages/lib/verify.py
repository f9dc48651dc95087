#!/usr/bin/env python3
"""Check every cached array against the manifest; mend what is damaged.

Usage: python -m stages.lib.verify [--repair]

With --repair, damaged files leave DVC's cache, which would bring them back,
and `extract` runs again: it takes over every good row and computes the rest.
"""
import os
import subprocess
import sys

import numpy as np

from stages.lib import arrays, committed, files, manifest
from stages.lib.errors import ArtefactError
from stages.lib.rows import Rows
from stages.lib.stage import run


def faults(path, promised, names):
    """Return what is wrong with one array of features, as lines.

    Args:
        path: of the array.
        promised: what the manifest says of each path.
        names: of the classes.
    """
    table = path.replace("_x.npy", "_rows.npy")
    try:
        array = Rows(path, table)
    except ArtefactError as error:
        return [str(error)]
    found = []
    good, _ = array.check()
    if not good.all():
        rows = ", ".join(map(str, np.flatnonzero(~good)[:10]))
        found.append(f"{(~good).sum():,} damaged rows: {rows}"
                     f"{', …' if (~good).sum() > 10 else ''}")
    dead = [k for k in np.flatnonzero(good) if not np.isfinite(
        array.x[k]).all()]
    if dead:
        found.append(f"{len(dead):,} rows with NaN or infinity: {dead[:10]}")
    if len(array.x) != promised[path]["rows"]:
        found.append(f"{len(array.x):,} rows, the manifest promises "
                     f"{promised[path]['rows']:,}")
    for name in (path, table):
        if files.digest(name, "sha256") != promised[name]["sha256"]:
            found.append(f"{name}: not the bytes that extract wrote")
    split = "train" if "/views/" in path else path.split("/")[1][:-len(
        "_x.npy")]
    labels = f"data/prepared/{split}_y.npy"
    y = arrays.open_array(labels, ndim=1)
    if len(y) != len(array.x):
        found.append(f"{len(array.x):,} rows, but {labels} has another number")
    listed = files.read_json(f"data/prepared/{split}.json")
    names = dict(enumerate(names))
    other = [k for k, (label, row) in enumerate(zip(y, listed))
             if names.get(label) != row["class"]]
    if other:
        found.append(f"{labels}: {len(other):,} labels that are not those of "
                     f"data/prepared/{split}.json: rows {other[:10]}")
    return [f"{path}: {line}" for line in found]


def verify():
    """Print one line for each array; return those that name a fault."""
    try:
        made = manifest.read()
    except ArtefactError as error:
        return [str(error)]
    wrong, promised = [], made["arrays"]
    for path in promised:
        if path.endswith("_x.npy"):
            found = faults(path, promised, made["class_names"])
            if not found:
                print(f"verify: {path}: {promised[path]['rows']:,} rows, good")
            wrong += found
    return wrong


def repair():
    """Take damaged files from DVC's cache, compute their rows again."""
    for name, (path, md5) in committed.outs().items():
        if os.path.exists(path) and files.digest(path, "md5") != md5:
            print(f"verify: {name}: its copy in DVC's cache is damaged, too: "
                  "removed")
            os.unlink(path)
    done = subprocess.run(["dvc", "repro", "--force", "--single-item",
                           "extract"], check=False)
    if done.returncode:
        raise ArtefactError("features: not repaired, see above")


def main():
    """Verify, repair if demanded, fail if something is still damaged."""
    wrong = verify()
    if wrong and "--repair" in sys.argv:
        print("\n".join(wrong), flush=True)
        repair()
        wrong = verify()
    if wrong:
        raise ArtefactError("\n".join(["features are damaged", *wrong,
                                       f"to mend them, {manifest.MEND}"]))


if __name__ == "__main__":
    run(main)
