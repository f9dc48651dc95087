#!/usr/bin/env python3
"""Resize pictures of any size in bounded memory: what each needs, and how many
at once.
"""
import math

from stages.lib.common import errors, files, parallel

BATCH = 64    # images in one call of TensorFlow
BATCH_PIXELS = 1 << 24    # of these images, or one that is larger


def memory(images, row, given):
    """Return the bytes that resizing a row's image takes at most, int.

    Measured: docs/experiments.md.

    Args:
        images: `prepared.Images`.
        row: its number.
        given: `params.Resize`.
    """
    height, width = images.size(row)
    shape = {"stretch": (height, width), "crop": [min(height, width)] * 2,
             "pad": [max(height, width)] * 2}[given.mode]
    # Pixels and TensorFlow's copies; cut or padded; float32 between the axes.
    need = (9 * height * width
            + 3 * shape[0] * shape[1] * (given.mode != "stretch")
            + 12 * given.side * max(shape) * given.antialias)
    if not images.of_files:
        return need
    from stages.lib.images import decoding    # not for arrays
    return max(need, decoding.memory(height * width / 1e6))


def plan(splits, given, free):
    """Print what the largest picture needs; refuse what does not fit.

    Args:
        splits: list of `prepared.Images`.
        given: `params.Resize`.
        free: bytes of memory.

    Returns:
        parallel.MemoryBudget, for all threads.

    Raises:
        PlanError: not even one thread has enough memory.
    """
    need, size = max((memory(images, row, given), tuple(images.size(row)))
                     for images in splits for row in (
                         range(len(images)) if images.of_files else [0]))
    cores = max(1, min(parallel.CORES, int(free / need)))
    text = (f"the largest picture is {size[1]:,} x {size[0]:,}: needs up to "
            f"{files.readable(need * cores)} of memory on {cores} of "
            f"{parallel.CORES} cores, {files.readable(free)} are free")
    if need > free:
        raise errors.PlanError(f"{text}; set resize.mode to crop, or lower "
                               "data.max_megapixels")
    if splits[0].of_files:
        print(f"resize: {text}")
    return parallel.MemoryBudget(free)


def batch_size(shape):
    """Return how many images of this height and width are a batch."""
    return max(1, min(BATCH, BATCH_PIXELS // math.prod(shape)))


def of_one_size(items, pixels, most):
    """Yield lists of consecutive items whose images have one size.

    Args:
        items: an iterable.
        pixels: function of an item; returns its image, (h, w, 3).
        most: largest length of a list; lists of large images are shorter.
    """
    batch, shape = [], None
    for item in items:
        found = pixels(item).shape
        if batch and (found != shape or len(batch) >= min(
                most, batch_size(found[:2]))):
            yield batch
            batch = []
        batch.append(item)
        shape = found
    if batch:
        yield batch


def batches(images):
    """Yield lists of rows, in order; those of large images are short."""
    rows, pixels = [], 0
    for row in range(len(images)):
        more = math.prod(images.size(row))
        if rows and (len(rows) == BATCH or pixels + more > BATCH_PIXELS):
            yield rows
            rows, pixels = [], 0
        rows.append(row)
        pixels += more
    if rows:
        yield rows
