#!/usr/bin/env python3
"""TensorFlow, on all cores or on the first GPU that it sees."""
import os
import threading

from stages.lib.common import errors
from stages.lib.common.keras_runtime import tf

BATCH = "EXTRACT_BATCH"    # environment variable: images a step
# One reads and uploads, one computes, one digests and writes.
WORKERS = 3


def on_gpu():
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def batch(default):
    """Return the images a step: `EXTRACT_BATCH`, or `default`.

    It changes the speed, and on a GPU the last bits (docs/cache.md).

    Raises:
        EngineError: it is not a whole number above 0.
    """
    given = os.environ.get(BATCH, str(default))
    if not given.isdecimal() or int(given) < 1:
        raise errors.EngineError(f"{BATCH}: {given!r} is not a whole number "
                                 "above 0; correct it, or unset it")
    return int(given)


def step(model, count):
    """Return a function of `count` images that gives their features.

    Threads may call it at the same time: their uploads and downloads run
    beside the computation, of which there is one at a time, so that the
    device holds the maps of one batch only.

    Args:
        model: `backbone.extractor`.
        count: number of images, fixed in the graph.
    """
    function = tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec((count, *model.input_shape[1:]),
                                       tf.uint8)])
    device, alone = "/GPU:0" if on_gpu() else "/CPU:0", threading.Lock()

    def compute(images):
        """Return the features of one batch.

        Raises:
            EngineError: the device has too little memory.
        """
        try:
            with tf.device(device):
                pixels = tf.constant(images)    # a quarter of float32
                with alone:
                    features = function(pixels)
            return features.numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise errors.EngineError(
                f"{count} images a step do not fit into the memory of "
                f"{device[1:]}; set the environment variable {BATCH} to "
                "less") from error
    return compute
