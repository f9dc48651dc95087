#!/usr/bin/env python3
"""An epoch from cached maps against one with the frozen part in the loop.

Usage: benchmarks/caching.py CIFAR10.npz WEIGHTS.h5 [IMAGES [SIDE]]

MobileNet 0.75, 1,024 images at 96 px by default.  Seconds of processor time,
all threads, which other work on the machine changes least; medians of three
interleaved rounds.  Writes study/caching.csv, which the paper shows.
"""
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from tails import BATCH, EPOCHS, REPEATS, models  # noqa: E402

CUTS = ("conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu",
        "conv_pw_7_relu", "conv_pw_9_relu", "conv_pw_11_relu",
        "conv_pw_12_relu", "top")
COLUMNS = ("cut", "images", "side", "bytes_per_image", "write_seconds",
           "cached_epoch_seconds", "loop_epoch_seconds")


def processor_seconds(*functions):
    """Return the median processor seconds of each function, interleaved.

    Each is called once before, to warm up.
    """
    for function in functions:
        function()
    taken = []
    for _ in range(REPEATS):
        taken.append([])
        for function in functions:
            begin = time.process_time()
            function()
            taken[-1].append(time.process_time() - begin)
    return [statistics.median(times) for times in zip(*taken)]


def measure(given, cut, images, labels):
    """Return a row of the table.

    Args:
        given: `params.Params`.
        cut: name of the last frozen layer, or "top".
        images: uint8 (n, side, side, 3).
        labels: float32 one-hot (n, classes).
    """
    from stages.lib.training import input_pipeline
    extractor, behind, whole = models(given, cut, images.shape[1])
    path = os.path.join(ROOT, "build", f"caching-{cut}.npy")
    extractor.predict(images[:BATCH], verbose=0)    # traced before
    begin = time.process_time()
    np.save(path, extractor.predict(images, verbose=0).astype("float16"))
    written = time.process_time() - begin
    maps = np.load(path, mmap_mode="r")
    if maps.ndim == 2:    # as train does
        maps = np.array(maps, "float32")
    epochs = EPOCHS.get(cut, 1)
    steps = input_pipeline.steps(labels, BATCH)

    def fit(model, x, times):
        """Return a function that trains `model` for `times` epochs."""
        return lambda: model.fit(
            input_pipeline.shuffled([x], labels, BATCH, 0),
            steps_per_epoch=steps * times, verbose=0)

    cached, loop = processor_seconds(fit(behind, maps, epochs),
                                     fit(whole, images, 1))
    size = 4 * maps.shape[1] if cut == "top" else 2 * maps[0].size
    del maps
    os.unlink(path)
    return (cut, len(images), images.shape[1], size, written,
            cached / epochs, loop)


def main(source, weights, count="1024", side="96"):
    """Measure all cuts, write the table."""
    from stages.lib.common import files
    from stages.lib.images import rescaling
    from stages.lib.params import params
    given = params.read(folder=ROOT)
    given = given.model_copy(update={"backbone": given.backbone.model_copy(
        update={"weights": os.path.abspath(weights)})})
    count, side = int(count), int(side)
    with np.load(source) as data:
        x, y = data["x_train"][:count], data["y_train"][:count].reshape(-1)
    images = np.asarray(rescaling.rescale(x, side=side)).astype("uint8")
    os.makedirs(os.path.join(ROOT, "build"), exist_ok=True)
    rows = []
    for cut in CUTS:
        rows.append(measure(given, cut, images,
                            np.eye(10, dtype="float32")[y]))
        print(*rows[-1], flush=True)
        files.write_csv(os.path.join(ROOT, "study", "caching.csv"), COLUMNS,
                        ([value if isinstance(value, (str, int))
                          else f"{value:.3f}" for value in row]
                         for row in rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
