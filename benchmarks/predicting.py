#!/usr/bin/env python3
"""Images a second of `predict_images` on a folder, against `extract`.

Usage: benchmarks/predicting.py PROJECT [ROUNDS]

PROJECT is a finished run on arrays, with the formats h5 and tflite exported.
2,000 test images are written as PNG files to a temporary folder.  Then, in
turn: the engine of `extract` computes the features of the same images,
already resized; each model predicts the files, read and decoded.  Start-up
is that of a whole process, up to the answer for one file.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from commands import predict_images  # noqa: E402
from stages.lib.backbone import layers  # noqa: E402
from stages.lib.common import keras_runtime, parallel  # noqa: E402
from stages.lib.engines import engine  # noqa: E402
from stages.lib.fusing import predictors  # noqa: E402
from stages.lib.params import params  # noqa: E402

IMAGES = 2000
MODELS = ("model.tflite", "model.h5")    # in models/export


def seconds(function):
    """Return how long a call of `function` takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def extraction():
    """Return a function that computes the features of `IMAGES` images."""
    keras_runtime.reset(0)
    given = params.read()
    found = engine.load("tflite", layers.build(given).extractor, None)
    pixels = np.load("data/resized/test_x.npy", mmap_mode="r")[:IMAGES]
    parts = [pixels[k:k + found.chunk]
             for k in range(0, len(pixels), found.chunk)]
    return lambda: list(parallel.ordered(found.compute, parts, found.workers))


def prediction(name, folder):
    """Return a function that predicts all files of `folder`."""
    model = predictors.load(f"models/export/{name}")
    given = types.SimpleNamespace(images=[folder], top=1, max_megapixels=200)

    def run():
        """Predict; every file must have a result."""
        found = list(predict_images.predict(model, given, print))
        assert len(found) == IMAGES
    return run


def main(project, rounds=3):
    """Measure in turn; print medians and ratios."""
    os.chdir(project)
    with tempfile.TemporaryDirectory() as folder:
        for k, image in enumerate(np.load("data/prepared/test_x.npy",
                                          mmap_mode="r")[:IMAGES]):
            Image.fromarray(image).save(f"{folder}/{k:04}.png")
        run = {"extract": extraction(), **{
            name: prediction(name, folder) for name in MODELS}}
        taken = {name: [] for name in run}
        begun = {name: [] for name in MODELS}
        for _ in range(int(rounds)):
            for name, function in run.items():
                taken[name].append(seconds(function))
            for name in MODELS:
                begun[name].append(seconds(lambda: subprocess.run(
                    [sys.executable, "-m", "commands.predict_images",
                     f"models/export/{name}", f"{folder}/0000.png"],
                    check=True, stdout=subprocess.DEVNULL)))
    rate = {name: IMAGES / statistics.median(each)
            for name, each in taken.items()}
    for name, images in rate.items():
        print(f"{name}: {images:.0f} images a second, "
              f"{images / rate['extract']:.2f} of extract")
    for name, each in begun.items():
        print(f"{name}: first answer after {statistics.median(each):.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
