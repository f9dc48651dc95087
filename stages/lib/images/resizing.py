#!/usr/bin/env python3
"""Resize images in batches, on all cores."""
import functools

import numpy as np
import psutil

from stages.lib.common import keras_runtime, parallel
from stages.lib.common.keras_runtime import tf
from stages.lib.images import large_pictures, rescaling

STACK = 1 << 20    # bytes of small pictures that are scaled together


@functools.lru_cache(maxsize=1)    # traced once for all splits
def scaler(given):
    """Return a function that resizes a batch.

    Args:
        given: `params.Resize`.

    Returns:
        tf.function, uint8 (k, h, w, 3) -> uint8 (k, side, side, 3).
    """
    def scale(batch):
        """Return the resized images."""
        return tf.cast(rescaling.rescale(batch, **given.model_dump()),
                       tf.uint8)

    return tf.function(scale, [tf.TensorSpec((None, None, None, 3),
                                             tf.uint8)])


@functools.lru_cache(maxsize=1)
def jpeg_scaler(given):
    """Return a function that decodes and resizes a batch of JPEG files.

    Args:
        given: `params.Resize`.

    Returns:
        tf.function, bytes of files, string (k,) -> uint8 (k, side, side, 3).
    """
    from stages.lib.images import jpeg    # not needed for arrays

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def scale(batch):
        """Return the resized images; the files differ in size."""
        return tf.map_fn(
            lambda data: tf.cast(rescaling.rescale(
                jpeg.decode(data)[None], **given.model_dump()),
                tf.uint8)[0], batch,
            fn_output_signature=tf.TensorSpec((given.side, given.side, 3),
                                              tf.uint8),
            parallel_iterations=1)    # one image in memory at a time

    return scale


def resize(images, given, budget=None, known=None):
    """Yield the resized images in batches, uint8 (k, side, side, 3).

    Args:
        images: `prepared.Images`.
        given: `params.Resize`.
        budget: `parallel.MemoryBudget`; by default, all free memory.
        known: `resized_rows.ResizedRows`, for files; None: there are none.
    """
    if images.of_files:
        return from_files(images, given, budget or parallel.MemoryBudget(
            psutil.virtual_memory().available), known)
    array, spec = images.array, tf.TensorSpec(
        (None, *images.array.shape[1:]), images.array.dtype)
    count = large_pictures.batch_size(array.shape[1:3])
    batches = tf.data.Dataset.from_generator(
        lambda: (array[k:k + count] for k in range(0, len(array), count)),
        output_signature=spec).prefetch(parallel.CORES)
    scaled = batches.map(scaler(given), num_parallel_calls=parallel.CORES)
    return scaled.prefetch(parallel.CORES).with_options(    # no more
        keras_runtime.untuned()).as_numpy_iterator()


def from_files(images, given, budget, known):
    """Yield the images of a folder in batches; see `resize`."""
    def batch(rows):
        """Return the images of these rows."""
        found = ([known.get(sha256.tobytes())
                  for sha256 in images.sha256(rows)] if known
                 else [None] * len(rows))
        new = np.flatnonzero([one is None for one in found])
        if len(new):
            with budget.take(max(large_pictures.memory(
                    images, rows[k], given) for k in new)):
                resized = batch_of_files(images, np.array(rows)[new], given)
            for k, one in zip(new, resized):
                found[k] = one
        return np.stack(found)

    return parallel.ordered(batch, large_pictures.batches(images))


def batch_of_files(images, rows, given):
    """Return the resized images of these rows, one after the other.

    Args:
        images: `prepared.Images` of files.
        rows: int64 (k,).
        given: `params.Resize`.

    Returns:
        uint8 (k, side, side, 3).
    """
    fast = np.array([images.jpeg(row) for row in rows])
    if fast.all():
        return jpeg_scaler(given)([images.read(row) for row in rows]).numpy()
    resized = np.empty((len(rows), given.side, given.side, 3), np.uint8)
    if fast.any():
        resized[fast] = jpeg_scaler(given)(
            [images.read(row) for row in rows[fast]])
    for found, pixels in stacks((k, images[rows[k]])
                                for k in np.flatnonzero(~fast)):
        resized[list(found)] = scaler(given)(np.stack(pixels))
    return resized


def stacks(pictures):
    """Yield numbers and pixels of pictures of one size, small ones together.

    Args:
        pictures: pairs of a number and pixels, uint8 (h, w, 3).
    """
    waiting = []
    for number, pixels in pictures:
        if waiting and (waiting[0][1].shape != pixels.shape or (
                len(waiting) + 1) * pixels.size > STACK):
            yield zip(*waiting)
            waiting = []
        waiting.append((number, pixels))
    if waiting:
        yield zip(*waiting)
