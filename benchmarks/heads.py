#!/usr/bin/env python3
"""Time, memory and scores of the heads of each solver, on a project.

Usage: python benchmarks/heads.py PROJECT [--columns N] [KEY=VALUE ...]

PROJECT is the folder of a finished run with vectors as features.  In
build/heads, with links to its data, `stages.train` and `stages.evaluate` run
once for each solver, with other keys of the group `train` as given, such as
refit=true.  With `--columns`, each image gets N features: the positive parts
of random projections of its own.  Seconds and memory are those of the whole
process of `stages.train`; the mapped files count, too.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from conftest import Project, environment  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

from stages.lib.common import arrays, files, seals  # noqa: E402

COPY = os.path.join(ROOT, "build", "heads")
ROWS = 4096
COPIED = "models", "results", "seals", "stages", "params.yaml", "dvc.yaml"


def widen(columns):
    """Replace the features of the current folder by `columns` others each."""
    manifest = seals.read_json("features/manifest.json")
    random = np.random.default_rng(0)
    x = arrays.open_array("features/train_x.npy", ndim=2)
    mix = random.normal(size=(x.shape[1], columns)).astype("float32")
    for split in files.SPLITS:
        path = f"features/{split}_x.npy"
        x = arrays.open_array(path, ndim=2)
        with arrays.array_writer(path, "float32", (len(x), columns)) as out:
            for k in range(0, len(x), ROWS):
                out.append(np.maximum(x[k:k + ROWS] @ mix, 0))
        manifest["arrays"][path]["sha256"] = files.digest(path, "sha256")
    seals.write_json("features/manifest.json", manifest)


def measure(solver):
    """Train and score in the current folder; return the figures."""
    Project(".").set(train__solver=solver)
    begin = time.perf_counter()
    train = subprocess.Popen([sys.executable, "-m", "stages.train"],
                             env=environment())
    _, status, used = os.wait4(train.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f"heads: {solver} failed")
    subprocess.run([sys.executable, "-m", "stages.evaluate"], check=True,
                   env=environment(), stdout=subprocess.DEVNULL)
    found = files.read_json("results/metrics.json")
    return {"seconds": round(seconds, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "memory_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
            "validation": found["validation"]["accuracy"],
            "test": found["test"]["accuracy"]}


def main():
    """Print the figures of each solver as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project")
    parser.add_argument("--columns", type=int)
    parser.add_argument("--solvers", nargs="+", default=[
        "ridge", "logistic", "gradient"])
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    project = os.path.abspath(given.project)
    shutil.rmtree(COPY, ignore_errors=True)
    os.makedirs(f"{COPY}/features")
    for name in ("data", *(f"features/{name}" for name in os.listdir(
            f"{project}/features"))):
        os.symlink(f"{project}/{name}", f"{COPY}/{name}")
    for name in COPIED:
        subprocess.run(["cp", "-RL", f"{project}/{name}", COPY], check=True)
    os.chdir(COPY)
    if given.columns:
        widen(given.columns)
    for key, value in (pair.split("=", 1) for pair in given.keys):
        Project(".").set(**{f"train__{key}": YAML(typ="safe").load(value)})
    for solver in given.solvers:
        print(json.dumps({"solver": solver, **measure(solver)}), flush=True)


if __name__ == "__main__":
    main()
