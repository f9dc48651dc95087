#!/usr/bin/env python3
"""The engine tensorflow on a GPU: images per second by images a step.

Usage: benchmarks/run.py gpu [--cpu] [--side PX] [--images N]

Random pixels and weights, which change no speed; needs no data.  Without a
GPU it refuses, unless --cpu asks for the processor, to test the benchmark.
"""
import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BATCHES = (16, 32, 64, 128, 256, 512)
ROUNDS = 3
RANDOM = "models/weights/random.yaml"


def device(cpu):
    """Return TensorFlow's name of the device, and its maker's.

    Exits with one line if there is none, and `cpu` does not ask for the
    processor.
    """
    from stages.lib.common.keras_runtime import tf
    from stages.lib.engines import tensorflow_engine
    if tensorflow_engine.on_gpu():
        if cpu:
            sys.exit("gpu: TensorFlow sees a GPU; for --cpu, hide it: "
                     "CUDA_VISIBLE_DEVICES=-1")
        first = tf.config.list_physical_devices("GPU")[0]
        return "/GPU:0", tf.config.experimental.get_device_details(
            first).get("device_name", first.name)
    if not cpu:
        sys.exit("gpu: TensorFlow sees no GPU (python -m pip install "
                 "'tensorflow[and-cuda]==2.15.1' brings the libraries); --cpu "
                 "measures the processor")
    return "/CPU:0", "the processor"


def seconds(function):
    """Return the least seconds of `function` in `ROUNDS`, and its result."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - begin)
    return min(taken), result


def by_threads(loaded, images, workers):
    """Return the features of `images`, as `extract` computes them."""
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(
            lambda k: loaded.compute(images[k:k + loaded.chunk]),
            range(0, len(images), loaded.chunk))))


def transfer(place, images, features, batch):
    """Return the seconds of all uploads and downloads, nothing beside them.
    """
    from stages.lib.common.keras_runtime import tf

    def both():
        """Upload pixels, download features, batch by batch."""
        for k in range(0, len(images), batch):
            with tf.device(place):
                tf.constant(images[k:k + batch])
            tf.test.experimental.sync_devices()
        for rows in on_device:
            rows.numpy()
    with tf.device(place):
        # Identity: where device and processor share memory, no copy is kept.
        on_device = [tf.identity(features[k:k + batch])
                     for k in range(0, len(images), batch)]
    return seconds(both)[0]


def measure(model, images, place, batches=BATCHES):
    """Return a table: images a step -> rates, share of transfer, bytes.

    Args:
        model: `backbone.extractor`.
        images: uint8 (n, side, side, 3), n a multiple of each of `batches`.
        place: TensorFlow's name of the device.
    """
    from stages.lib.common import errors
    from stages.lib.engines import engine
    table, reference = {}, None
    order = np.random.default_rng(1).permutation(len(images))
    for batch in batches:
        os.environ["EXTRACT_BATCH"] = str(batch)
        loaded = engine.load("tensorflow", model, None)
        try:
            by_threads(loaded, images[:batch], 1)    # traces
            alone, rows = seconds(lambda: by_threads(loaded, images, 1))
            beside, _ = seconds(lambda: by_threads(loaded, images,
                                                   loaded.workers))
            permuted = by_threads(loaded, images[order], loaded.workers)
        except errors.EngineError as error:
            print(f"gpu: {error}")
            break
        reference = rows if reference is None else reference
        moved = transfer(place, images, rows, batch)
        table[f"{batch} images a step"] = {
            "images_per_second": len(images) / beside,
            "images_per_second_one_thread": len(images) / alone,
            "share_of_transfer_one_thread": moved / alone,
            "same_bytes_in_any_order": int(np.array_equal(
                permuted, rows[order])),
            "difference_to_first_batch": float(
                np.abs(rows - reference).max() / np.abs(reference).max())}
    return table


def main(words):
    """Measure; return the table and what it was measured on.

    Args:
        words: of the command line.
    """
    parser = argparse.ArgumentParser(prog="benchmarks/run.py gpu",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--images", type=int, default=4096)
    given = parser.parse_args(words)
    place, name = device(given.cpu)
    from stages.lib.backbone import backbone
    from stages.lib.params import params
    application = params.Backbone(
        application="MobileNet", options={"alpha": 0.75}, weights=RANDOM,
        pooling="avg", cut="top")
    model = backbone.extractor(backbone.frozen(backbone.build(
        application, given.side), "top"), application.application)
    images = np.random.default_rng(0).integers(
        0, 256, (given.images, given.side, given.side, 3), "uint8")
    batches = [one for one in BATCHES if given.images % one == 0]
    return {f"MobileNet 0.75 at {given.side} px on {name}": measure(
        model, images, place, batches)}
