#!/usr/bin/env python3
"""Times decoding: `resize` against Keras' own reader of folders.

Usage: python -m benchmarks.timed_decoding SIDE ..., in a project whose
data.source is a folder and prepared.  Prints JSON.
"""
import contextlib
import io
import json
import os
import statistics
import sys
import time

from stages.lib.common.keras_runtime import keras
from stages.lib.images import prepared, resizing
from stages.lib.params import params

ROUNDS = 5


def ours(folder, given):
    """Return images per second from files to uint8 at the side.

    Reading, checking the digest, decoding and scaling, as in the stage.
    """
    for scaler in (resizing.scaler, resizing.jpeg_scaler):
        scaler.cache_clear()    # Keras' reader traces every time, too
    begin = time.perf_counter()
    images = prepared.Images("train", folder)
    count = sum(len(batch) for batch in resizing.resize(images, given))
    return count / (time.perf_counter() - begin)


def keras_reader(folder, given):
    """Return images per second of `image_dataset_from_directory`.

    At the same side, in batches of 64, start included, as in `ours`.
    """
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        data = keras.utils.image_dataset_from_directory(
            os.path.join(folder, "train"), batch_size=64, shuffle=False,
            image_size=(given.side, given.side), label_mode=None,
            crop_to_aspect_ratio=given.mode == "crop")
    count = sum(len(batch) for batch in data)
    return count / (time.perf_counter() - begin)


def measure(folder, sides):
    """Return images per second of both, from interleaved rounds.

    Keras' reader has two speeds, as tf.data tunes itself at the start:
    the fastest rounds are compared, too.

    Args:
        folder: the source; both read its train split.
        sides: in pixels.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"    # as the stage
    table = {}
    for side in sides:
        for mode in ("stretch", "crop"):
            given = params.Resize(side=side, mode=mode, antialias=False)
            rates = {"ours": [], "keras": []}
            for _ in range(ROUNDS):
                rates["ours"].append(ours(folder, given))
                rates["keras"].append(keras_reader(folder, given))
            own, other = (statistics.median(rates[name]) for name in rates)
            table[f"{mode} to {side}"] = {
                "images_per_second": own, "keras_images_per_second": other,
                "ratio_at_least_1": own / other,
                "ratio_of_fastest_rounds":
                    max(rates["ours"]) / max(rates["keras"])}
    return table


if __name__ == "__main__":
    print(json.dumps(measure(params.read().data.source,
                             map(int, sys.argv[1:]))))
