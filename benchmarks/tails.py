#!/usr/bin/env python3
"""Training from cached maps against the frozen part in the loop."""
import os
import statistics
import time

import numpy as np

CUTS = ("conv_pw_5_relu", "conv_pw_11_relu", "top")
BATCH = 128
REPEATS = 3
EPOCHS = {"top": 20}    # in one call, so that its start does not count
STEPS = {"top": 32}    # per call of TensorFlow, as train does


def timed(function, times=REPEATS):
    """Return the median seconds of calling `function`."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def seconds(function):
    """Return the median seconds of `function`, after one call to warm up."""
    function()
    return timed(function)


def models(given, cut, side, classes=10):
    """Return the extractor, and what is trained behind the cut.

    Both as one model in the loop, too, with the frozen part run in inference.
    """
    from stages.lib.backbone import backbone
    from stages.lib.common import keras_runtime
    from stages.lib.common.keras_runtime import keras
    from stages.lib.training import head, tail
    keras_runtime.reset(0)
    base = backbone.build(given.backbone, side)
    extractor = backbone.extractor(backbone.frozen(base, cut),
                                   given.backbone.application)
    width = base.output_shape[1]
    top = head.build(given.train, np.random.default_rng(0).normal(
        size=(100, width)).astype("float32"), classes)
    behind = top if cut == "top" else tail.join(base, cut, top)
    pixels = keras.Input((side, side, 3))
    whole = keras.Model(pixels, behind(extractor(pixels, training=False)))
    for model, steps in ((behind, STEPS.get(cut, 1)), (whole, 1)):
        model.compile("adam", head.loss(top), ["accuracy"],
                      steps_per_execution=steps)
    return extractor, behind, whole


def measure(given, images, labels):
    """Return cut -> seconds of an epoch both ways, and the pipeline's rate.

    Args:
        given: `params.Params` of the defaults.
        images: uint8 (n, side, side, 3), already at the side of the backbone.
        labels: integer (n,).
    """
    from stages.lib.training import input_pipeline
    one_hot = np.eye(10, dtype="float32")[labels]
    epoch = input_pipeline.steps(labels, BATCH)
    found = {}
    for cut in CUTS:
        extractor, behind, whole = models(given, cut, images.shape[1])
        path = f"build/maps-{cut}.npy"
        np.save(path, extractor.predict(images, verbose=0).astype("float16"))
        maps = np.load(path, mmap_mode="r")
        if maps.ndim == 2:    # as train does
            maps = np.array(maps, "float32")
        epochs = EPOCHS.get(cut, 1)

        def cached():
            """Train on the cached maps."""
            behind.fit(input_pipeline.shuffled([maps], one_hot, BATCH, 0),
                       steps_per_epoch=epoch * epochs, verbose=0)

        def in_the_loop():
            """Train one epoch of the same layers, the rest in the loop."""
            whole.fit(input_pipeline.shuffled([images], one_hot, BATCH, 0),
                      steps_per_epoch=epoch, verbose=0)

        def draw():
            """Draw the batches of `cached`, without training."""
            batches = input_pipeline.shuffled([maps], one_hot, BATCH, 0)
            for _ in batches.take(epoch * epochs):
                pass

        of_cache, of_loop, of_feed = (
            seconds(run) / times for run, times in
            ((cached, epochs), (in_the_loop, 1), (draw, epochs)))
        found[cut] = {
            "cached_epoch_seconds": of_cache,
            "in_the_loop_epoch_seconds": of_loop,
            "ratio": of_loop / of_cache,
            "feed_images_per_second": len(labels) / of_feed,
            "feed_is_faster_than_training_by": of_cache / of_feed}
        os.unlink(path)
    return found
