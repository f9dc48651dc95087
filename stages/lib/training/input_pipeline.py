#!/usr/bin/env python3
"""Batches for training: shuffled rows, a random view of each."""
import itertools

import numpy as np

from stages.lib.common import keras_runtime
from stages.lib.common.keras_runtime import tf

PREFETCHED = 4    # batches


class OneHot:
    """One-hot labels, float32 (n, classes), made for the rows that are read.

    Attributes:
        labels: integer (n,).
        shape, dtype: as of an array.
    """

    dtype = np.dtype("float32")

    def __init__(self, labels, classes):
        """Keep the labels; `classes` is their number of classes."""
        self.labels, self.shape = labels, (len(labels), classes)
        self._one_hot = np.eye(classes, dtype=self.dtype)

    def __len__(self):
        """Return the number of labels."""
        return len(self.labels)

    def __getitem__(self, rows):
        """Return the one-hot labels of these rows."""
        return self._one_hot[self.labels[rows]]


def shuffled(views, labels, size, seed, first=0):
    """Return an endless tf.data.Dataset of batches; see `steps`.

    An epoch contains each image once, in random order, as a random view.
    Order and views depend only on `seed` and the number of the epoch.

    Args:
        views: arrays (n, …) of the same images, row by row; may be
            memory-mapped.
        labels: (n, …), an array or `OneHot`.
        size: images in a batch; the last of an epoch may have fewer.
        seed: 0 or more.
        first: number of the first epoch, from 0.
    """
    def draw():
        """Yield batch after batch."""
        for epoch in itertools.count(first):
            random = np.random.default_rng([seed, epoch])
            order = random.permutation(len(labels))
            chosen = random.integers(len(views), size=len(labels))
            for k in range(0, len(order), size):
                rows = order[k:k + size]
                x = np.empty((len(rows), *views[0].shape[1:]), np.float32)
                for number, view in enumerate(views):
                    of_view = np.flatnonzero(chosen[rows] == number)
                    x[of_view] = view[rows[of_view]]
                yield x, labels[rows]

    return _dataset(draw, views[0], labels)


def in_order(x, labels, size):
    """Return a tf.data.Dataset of all rows, `size` at a time, in order."""
    return _dataset(lambda: ((x[k:k + size].astype(np.float32),
                              labels[k:k + size])
                             for k in range(0, len(x), size)), x, labels)


def _dataset(draw, x, labels):
    """Return a dataset of the batches of `draw()`, some of them prefetched."""
    return tf.data.Dataset.from_generator(draw, output_signature=(
        tf.TensorSpec((None, *x.shape[1:]), tf.float32),
        tf.TensorSpec((None, *labels.shape[1:]), labels.dtype))
        ).prefetch(PREFETCHED).with_options(keras_runtime.untuned())


def steps(labels, size):
    """Return the number of batches of an epoch."""
    return -(-len(labels) // size)
