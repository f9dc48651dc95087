#!/usr/bin/env python3
"""Walk over the rows of an array on disk, batch by batch, with progress."""
from tqdm import tqdm

from stages.lib.runtime import tf


def batches(array, size):
    """Return a tf.data.Dataset of `array`'s rows, `size` at a time, in order.

    Rows are read ahead of their use; at most a few batches are in memory.
    """
    spec = tf.TensorSpec((None, *array.shape[1:]), array.dtype)
    rows = tf.data.Dataset.from_generator(
        lambda: (array[k:k + size] for k in range(0, len(array), size)),
        output_signature=spec)
    return rows.prefetch(tf.data.AUTOTUNE)


def progress(title, total):
    """Return a bar of `total` images: rate and time left, on terminals only.
    """
    return tqdm(total=total, desc=title, unit="img", disable=None)
