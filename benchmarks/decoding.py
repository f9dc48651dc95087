#!/usr/bin/env python3
"""Times decoding: the files of `resize` against Keras' own reader of folders.
"""
import contextlib
import io
import os
import statistics
import time

ROUNDS = 5


def ours(folder, split, resize):
    """Return images per second from files to uint8 at the side.

    Reading, checking the digest, decoding and scaling, as in the stage.
    """
    from stages import resize as stage
    from stages.lib.prepared import Images
    begin = time.perf_counter()
    images = Images(split, folder)
    count = sum(len(batch) for batch in stage.resize(images, resize))
    return count / (time.perf_counter() - begin)


def keras_reader(folder, split, resize):
    """Return images per second of `image_dataset_from_directory`.

    At the same side, in batches of 64; as of ours, the start is timed, too.
    """
    from stages.lib.runtime import keras
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        data = keras.utils.image_dataset_from_directory(
            os.path.join(folder, split), batch_size=64, shuffle=False,
            image_size=(resize.side, resize.side), label_mode=None,
            crop_to_aspect_ratio=resize.mode == "crop")
    count = sum(len(batch) for batch in data)
    return count / (time.perf_counter() - begin)


def measure(folder, split, sides):
    """Return images per second of both, medians of interleaved rounds.

    Args:
        folder: a source, prepared in the current folder.
        split: which all files of its folder belong to.
        sides: in pixels.
    """
    from stages.lib import params
    table = {}
    for side in sides:
        for mode in ("stretch", "crop"):
            given = params.Resize(side=side, mode=mode, antialias=False)
            rates = {"ours": [], "keras": []}
            for _ in range(ROUNDS):
                rates["ours"].append(ours(folder, split, given))
                rates["keras"].append(keras_reader(folder, split, given))
            found = {name: statistics.median(rate)
                     for name, rate in rates.items()}
            table[f"{mode} to {side}"] = {
                "images_per_second": found["ours"],
                "keras_images_per_second": found["keras"],
                "ratio_at_least_1": found["ours"] / found["keras"]}
    return table
