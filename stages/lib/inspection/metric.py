#!/usr/bin/env python3
"""The space of distances between images, fitted in bounded memory.

Distances are those of whitened principal components, scaled to length 1.  On
MobileNet's features a vote of neighbours is more accurate than with those of
the features themselves, and takes a third of the time (docs/experiments.md).
"""
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from stages.lib.common import errors

ROWS = 8192    # read at a time
COMPONENTS = 256
ROWS_A_COMPONENT = 16    # with fewer, whitening amplifies noise
LEAST_SHARE = 1e-6       # of the first component's variance; less is noise
FLOOR = 1e-3             # of a standard deviation, as that of the head


class Metric(NamedTuple):
    """From features to points.

    kept: bool (d,), dimensions that are finite in more than half of the rows.
    mean, deviation: float32 (kept,), of train.
    axes: float32 (kept, q), from standardised features to components of
        variance 1.
    """

    kept: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    axes: np.ndarray

    def standardised(self, vectors):
        """Return standardised features, and which rows are finite.

        Args:
            vectors: float32 (n, d).

        Returns:
            float32 (n, kept), 0 in the other rows; bool (n,).
        """
        x = vectors[:, self.kept]
        usable = np.isfinite(x).all(1)
        x[~usable] = self.mean
        x -= self.mean
        x /= self.deviation
        return x, usable

    def points(self, standardised):
        """Return points of length 1, float32 (n, q); 0 stays 0."""
        return unit(standardised @ self.axes)


class Space(NamedTuple):
    """Images in the space of distances.

    points: float32 (n, q), of length 1; 0 where not usable.
    usable: bool (n,), the images whose features are finite.
    vectors: float32 (n, d), the features.
    metric: `Metric`.
    """

    points: np.ndarray
    usable: np.ndarray
    vectors: np.ndarray
    metric: Metric

    def scaled(self, rows):
        """Return standardised features of length 1, float32 (k, d)."""
        return unit(self.metric.standardised(self.vectors[rows])[0])


def space(vectors, rows):
    """Return the `Space` of `vectors`, float32 (n, d).

    Dimensions that are not finite in half of the rows are left out, then
    rows that are still not finite.

    Args:
        vectors: maps pooled.
        rows: bool (n,), those that set scale and components: train's.

    Raises:
        ArtefactError: fewer than two rows are finite.
    """
    def blocks(wanted=None):
        """Yield the rows of `wanted`, or all."""
        for k in range(0, len(vectors), ROWS):
            block = vectors[k:k + ROWS]
            yield block if wanted is None else block[wanted[k:k + ROWS]]

    found = fitted(blocks, lambda: blocks(rows))
    points = np.empty((len(vectors), found.axes.shape[1]), np.float32)
    usable = np.empty(len(vectors), bool)
    for k in range(0, len(vectors), ROWS):
        part = slice(k, k + ROWS)
        x, usable[part] = found.standardised(vectors[part])
        points[part] = found.points(x)
    return Space(points, usable, vectors, found)


def fitted(read, read_train):
    """Return the `Metric` of features that are read in blocks.

    Args:
        read, read_train: functions that return an iterator over blocks,
            float32 (k, d), of all images and of those of train.

    Raises:
        ArtefactError: fewer than two rows of train are finite.
    """
    count, finite = 0, 0
    for block in read():
        count += len(block)
        finite = finite + np.isfinite(block).sum(0)
    kept = finite > 0.5 * count
    rows, mean, covariance = _moments(read_train(), kept)
    if not kept.any() or rows < 2:
        raise errors.ArtefactError(
            "features/train_x.npy: fewer than two rows are finite; "
            "run `make verify`")
    deviation = np.maximum(np.sqrt(covariance.diagonal()), FLOOR)
    covariance /= deviation * deviation[:, None]
    depth = len(covariance)
    components = max(1, min(COMPONENTS, depth, rows // ROWS_A_COMPONENT))
    variance, axes = eigh(covariance, subset_by_index=(
        depth - components, depth - 1))
    variance *= rows / (rows - 1)
    axes = axes / np.sqrt(np.maximum(variance, LEAST_SHARE * variance[-1])
                          + 1e-30)
    return Metric(kept, *(values.astype(np.float32)
                          for values in (mean, deviation, axes)))


def unit(x):
    """Return `x`, float32 (n, d), scaled in place to rows of length 1."""
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return x


def _moments(blocks, kept):
    """Return the number of finite rows, their mean and covariance, float64.

    Values are taken from the first block's mean, so that no digits cancel.
    """
    depth = int(kept.sum())
    shift, rows = None, 0
    total, products = np.zeros(depth), np.zeros((depth, depth))
    for block in blocks:
        x = block[:, kept].astype(np.float64)
        x = x[np.isfinite(x).all(1)]
        if not len(x):
            continue
        if shift is None:
            shift = x.mean(0)
        x -= shift
        rows += len(x)
        total += x.sum(0)
        products += x.T @ x
    mean = total / max(rows, 1)
    products /= max(rows, 1)
    products -= mean * mean[:, None]
    np.fill_diagonal(products, np.maximum(products.diagonal(), 0))
    return rows, mean + (0 if shift is None else shift), products
