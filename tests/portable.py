#!/usr/bin/env python3
"""The exported files in empty environments, on the real CIFAR-10 test images.

Usage: tests/portable.py PROJECT PYTHON

PROJECT is a finished run on arrays, whose files are exported once more; PYTHON
an interpreter of version 3.11 or 3.12.  Each environment is made with it, used
and deleted, one after the other; seconds and megabytes are printed.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from conftest import ROOT, Project, environment

sys.path.insert(0, ROOT)

import numpy as np  # noqa: E402
from stages.lib.training import numpy_head  # noqa: E402

# What a stranger writes: argv is the file, the images and labels, the output.
KERAS = """
import sys, keras, numpy as np
sys.setrecursionlimit(10000)    # Keras 3 follows all layers by recursion
model = keras.models.load_model(sys.argv[1])
x, y = (np.load(path) for path in sys.argv[2:4])
print(keras.__version__, model.evaluate(
    x.astype("float32"), np.eye(y.max() + 1)[y], batch_size=128, verbose=0))
np.save(sys.argv[4], model.predict(x.astype("float32"), 128, verbose=0))
"""
LITERT = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=sys.argv[1])
run, x = model.get_signature_runner(), np.load(sys.argv[2])
np.save(sys.argv[4], np.concatenate([run(pixels=x[k:k + 1].astype("float32"))[
    "probabilities"] for k in range(len(x))]))
"""
ONNX = """
import sys, onnxruntime, numpy as np
model, x = onnxruntime.InferenceSession(sys.argv[1]), np.load(sys.argv[2])
batches = [x[k:k + 64].astype("float32") for k in range(0, len(x), 64)]
np.save(sys.argv[4], np.concatenate([
    model.run(None, {"pixels": batch})[0] for batch in batches]))
"""
ENVIRONMENTS = {"Keras 3": ("model.h5", ["tensorflow-cpu>=2.16"], KERAS),
                "LiteRT": ("model.tflite", ["ai-edge-litert"], LITERT),
                "ONNX Runtime": ("model.onnx", ["onnxruntime"], ONNX)}


def export(project):
    """Export all files; `make onnx` makes an environment, deleted here."""
    project.set(export__formats=["h5", "tflite", "onnx"])
    before = os.path.exists(os.path.join(ROOT, ".venv-onnx"))
    try:
        subprocess.run(["make", "-o", ".venv/complete", "onnx"], cwd=ROOT,
                       check=True, env=environment())
        subprocess.run([sys.executable, "-m", "stages.export"],
                       cwd=project.path, check=True)
    finally:
        if not before:
            shutil.rmtree(os.path.join(ROOT, ".venv-onnx"))


def answers(python, file, packages, program, data, folder):
    """Return the probabilities that a file gives in a new environment.

    Args:
        python: interpreter.
        file: the exported file.
        packages: to install.
        program: Python, see `KERAS`.
        data: paths of images and labels.
        folder: for the environment; deleted at the end.
    """
    begin, own = time.monotonic(), os.path.join(folder, "bin", "python")
    subprocess.run([python, "-m", "venv", folder], check=True)
    try:
        subprocess.run([own, "-m", "pip", "install", "--quiet",
                        "--no-cache-dir", *packages], check=True)
        made = time.monotonic() - begin
        inside = {os.stat(path).st_ino: os.lstat(path).st_blocks for path in
                  glob.iglob(f"{folder}/**", recursive=True)
                  if not os.path.islink(path)}
        begin, out = time.monotonic(), f"{folder}.npy"
        done = subprocess.run(
            [own, "-I", "-c", program, file, *data, out], check=True,
            stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir(),
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}).stdout
        print(f"portable: {' '.join(packages)}: environment in {made:.0f} s, "
              f"{sum(inside.values()) * 512 / 1e6:.0f} MB; "
              f"{os.path.basename(file)} in "
              f"{time.monotonic() - begin:.0f} s {done.strip()}", flush=True)
        return np.load(out)
    finally:
        shutil.rmtree(folder)


def check(name, found, expected, labels, scored, allowed):
    """Return what is wrong with the probabilities `found`, or None.

    Classes may differ where two are equally probable to `allowed`.
    """
    differ = np.flatnonzero(found.argmax(axis=1) != expected.argmax(axis=1))
    best = np.sort(expected[differ], axis=1)[:, -2:]
    ties = int((best[:, 1] - best[:, 0] <= 2 * allowed).sum())
    accuracy = float((found.argmax(axis=1) == labels).mean())
    print(f"portable: {name}: accuracy {accuracy:.4f} (results {scored:.4f}),"
          f" {len(differ)} of {len(found):,} classes differ, {ties} of them "
          "ties; probabilities by at most "
          f"{np.abs(found - expected).max():.2g}")
    if round(accuracy, 4) != round(scored, 4) and not ties:
        return f"{name}: accuracy {accuracy:.4f}, not {scored:.4f}"
    if ties < len(differ):
        return f"{name}: {len(differ) - ties} other classes"
    return None


def main(path, python):
    """Check every file in its environment; fail if one is wrong."""
    project = Project(os.path.abspath(path))
    export(project)
    data = [project.file(f"data/prepared/test_{kind}.npy") for kind in "xy"]
    os.chdir(project.path)
    with open("results/metrics.json", encoding="utf-8") as file:
        scored = json.load(file)["test"]["accuracy"]
    with open("models/export/export.json", encoding="utf-8") as file:
        described = {one["name"]: one["comparison"]
                     for one in json.load(file)["files"]}
    expected = numpy_head.load().probabilities(np.load("features/test_x.npy"))
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, packages, program) in ENVIRONMENTS.items():
            compared = described[file]
            wrong.append(check(name, answers(
                python, project.file(f"models/export/{file}"), packages,
                program, data, f"{folder}/{file}"), expected,
                np.load(data[1]), scored, compared["explained_by_rounding"]
                + compared["difference_to_cached_features"]))
    if any(wrong):
        sys.exit("portable: FAILED: " + "; ".join(filter(None, wrong)))
    print("portable: PASSED")


if __name__ == "__main__":
    main(*sys.argv[1:])
