#!/usr/bin/env python3
"""Training from cached maps against the frozen part in the loop."""
import os
import statistics
import time

import numpy as np

CUTS = ("conv_pw_5_relu", "conv_pw_11_relu", "top")
BATCH = 128
REPEATS = 3


def seconds(function):
    """Return the median seconds of `function`, after one call to warm up."""
    function()
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def models(given, cut, side, classes=10):
    """Return the extractor, and what is trained behind the cut.

    Both as one model in the loop, too, with the frozen part run in inference.
    """
    from stages.lib import backbone, head, tail
    from stages.lib.runtime import keras, start
    start(0)
    base = backbone.build(given.backbone, side)
    extractor = backbone.extractor(backbone.frozen(base, cut),
                                   given.backbone.application)
    width = base.output_shape[1]
    top = head.build(given.train, np.random.default_rng(0).normal(
        size=(100, width)).astype("float32"), classes)
    behind = top if cut == "top" else tail.join(base, cut, top)
    pixels = keras.Input((side, side, 3))
    whole = keras.Model(pixels, behind(extractor(pixels, training=False)))
    for model in (behind, whole):
        model.compile("adam", head.loss(top), ["accuracy"])
    return extractor, behind, whole


def measure(given, images, labels):
    """Return cut -> seconds of an epoch both ways, and the feed's rate.

    Args:
        given: `params.Params` of the defaults.
        images: uint8 (n, side, side, 3), already at the side of the backbone.
        labels: integer (n,).
    """
    from stages.lib.feed import feed, steps
    one_hot = np.eye(10, dtype="float32")[labels]
    epoch = steps(labels, BATCH)
    found = {}
    for cut in CUTS:
        extractor, behind, whole = models(given, cut, images.shape[1])
        path = f"build/maps-{cut}.npy"
        np.save(path, extractor.predict(images, verbose=0).astype("float16"))
        maps = np.load(path, mmap_mode="r")

        def cached():
            """Train one epoch on the cached maps."""
            behind.fit(feed([maps], one_hot, BATCH, 0), steps_per_epoch=epoch,
                       verbose=0)

        def in_the_loop():
            """Train one epoch of the same layers, the rest in the loop."""
            whole.fit(feed([images], one_hot, BATCH, 0),
                      steps_per_epoch=epoch, verbose=0)

        def fed():
            """Draw one epoch, train nothing."""
            for _ in feed([maps], one_hot, BATCH, 0).take(epoch):
                pass

        times = [seconds(run) for run in (cached, in_the_loop, fed)]
        found[cut] = {
            "cached_epoch_seconds": times[0],
            "in_the_loop_epoch_seconds": times[1],
            "ratio": times[1] / times[0],
            "feed_images_per_second": len(labels) / times[2],
            "feed_is_faster_than_training_by": times[0] / times[2]}
        os.unlink(path)
    return found
