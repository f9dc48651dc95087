#!/usr/bin/env python3
"""Compare all cached arrays with the manifest; repair damaged ones."""
if not __package__:
    raise SystemExit("run this as: python -m commands.verify_features")

import argparse
import os
import subprocess

import numpy as np

from stages.lib.cache import previous_version, row_store
from stages.lib.common import arrays, errors, files, manifest, stage

REPAIR = """remove damaged files from DVC's cache, which would restore them,
and run extract again: it keeps all good rows and computes the others"""


def faults(path, described, names):
    """Return the faults of one array of features, a line each.

    Args:
        path: of the array.
        described: path -> its description in the manifest.
        names: of the classes.
    """
    table = path.replace("_x.npy", "_rows.npy")
    try:
        array = row_store.StoredRows(path, table)
    except errors.ArtefactError as error:
        return [str(error)]
    found = []
    good, _ = array.check()
    if not good.all():
        rows = ", ".join(map(str, np.flatnonzero(~good)[:10]))
        found.append(f"{(~good).sum():,} damaged rows: {rows}"
                     f"{', …' if (~good).sum() > 10 else ''}")
    invalid = [k for k in np.flatnonzero(good) if not np.isfinite(
        array.x[k]).all()]
    if invalid:
        found.append(f"{len(invalid):,} rows with NaN or infinity: "
                     f"{invalid[:10]}")
    if len(array.x) != described[path]["rows"]:
        found.append(f"{len(array.x):,} rows, but "
                     f"{described[path]['rows']:,} in the manifest")
    for name in (path, table):
        if files.digest(name, "sha256") != described[name]["sha256"]:
            found.append(f"{name}: changed since extract wrote it")
    split = "train" if "/views/" in path else path.split("/")[1][:-len(
        "_x.npy")]
    labels = f"data/prepared/{split}_y.npy"
    y = arrays.open_array(labels, ndim=1)
    if len(y) != len(array.x):
        found.append(f"{len(array.x):,} rows, but {len(y):,} in {labels}")
    listed = files.read_json(f"data/prepared/{split}.json")
    names = dict(enumerate(names))
    differ = [k for k, (label, row) in enumerate(zip(y, listed))
              if names.get(label) != row["class"]]
    if differ:
        found.append(f"{labels}: {len(differ):,} labels differ from "
                     f"data/prepared/{split}.json: rows {differ[:10]}")
    return [f"{path}: {line}" for line in found]


def verify():
    """Print a line for each good array; return the faults of the others."""
    try:
        content = manifest.read()
    except errors.ArtefactError as error:
        return [str(error)]
    wrong, described = [], content["arrays"]
    for path in described:
        if path.endswith("_x.npy"):
            found = faults(path, described, content["class_names"])
            if not found:
                print(f"verify_features: {path}: "
                      f"{described[path]['rows']:,} rows, good")
            wrong += found
    return wrong


def repair():
    """Remove damaged files from DVC's cache, compute their rows again."""
    for name, (path, md5) in previous_version.outs().items():
        if os.path.exists(path) and files.digest(path, "md5") != md5:
            print(f"verify_features: {name}: its copy in DVC's cache is "
                  "damaged, too: removed")
            os.unlink(path)
    done = subprocess.run(["dvc", "repro", "--force", "--single-item",
                           "extract"], check=False)
    if done.returncode:
        raise errors.ArtefactError("features: not repaired, see above")


def main():
    """Verify; repair on request; fail if anything is still damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.verify_features", description=__doc__)
    parser.add_argument("--repair", action="store_true", help=REPAIR)
    given = parser.parse_args()
    wrong = verify()
    if wrong and given.repair:
        print("\n".join(wrong), flush=True)
        repair()
        wrong = verify()
    if wrong:
        raise errors.ArtefactError("\n".join([
            "features are damaged", *wrong,
            f"to repair them, {manifest.REPAIR}"]))


if __name__ == "__main__":
    stage.run(main)
