#!/usr/bin/env python3
"""Nearest neighbours of cached features, and how they vote on the class."""
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from stages.lib.common import progress
from stages.lib.inspection import equal_images, metric

ROWS = 8192    # of features, read at a time
TEMPERATURE = 0.1    # of the votes' weights, in cosine similarity


class Space(NamedTuple):
    """Images in the space of distances.

    points: float32 (n, q), of length 1; 0 where not usable.
    usable: bool (n,), the images whose features are finite.
    scaled: float32 (n, d), standardised features, in rows of length 1.
    """

    points: np.ndarray
    usable: np.ndarray
    scaled: np.ndarray


class Neighbours(NamedTuple):
    """Neighbours, nearest first: rows and cosine similarity, both (n, k)."""

    rows: np.ndarray
    similarity: np.ndarray


class Voted(NamedTuple):
    """Neighbours of all images in train, each image once, and their votes.

    first: integer (n,), the first row of the same image, in train if it is
        there.  An image is no neighbour of its copies.
    train, rest: row numbers of the images, usable and each once.
    found: `Neighbours` of both.
    shares: float64 (n, classes), votes, equal for copies; 0 if not usable.
    """

    first: np.ndarray
    train: np.ndarray
    rest: np.ndarray
    found: list
    shares: np.ndarray


def space(vectors, fitted):
    """Return the `Space` of `vectors`, float32 (n, d).

    Dimensions that are not finite in half of the rows are left out, then
    rows that are still not finite.

    Args:
        vectors: maps pooled.
        fitted: bool (n,), the rows that set scale and components: train's.

    Raises:
        ArtefactError: fewer than two rows are finite.
    """
    def blocks(wanted=None):
        """Yield the rows of `wanted`, or all."""
        for k in range(0, len(vectors), ROWS):
            block = vectors[k:k + ROWS]
            yield block if wanted is None else block[wanted[k:k + ROWS]]

    found = metric.fitted(blocks, lambda: blocks(fitted))
    x, usable = found.standardised(vectors)
    return Space(found.points(x), usable, metric.unit(x))


def voted(cached, points, count):
    """Return the neighbours of all images, and their votes, as `Voted`.

    Args:
        cached: `cached_features.CachedFeatures`.
        points: their `Space`.
        count: neighbours that vote.
    """
    first = equal_images.first_of_equals(cached.images, points.usable)
    once = points.usable & (first == np.arange(len(first)))
    in_train = cached.in_split("train")
    train, rest = (np.flatnonzero(once & rows)
                   for rows in (in_train, ~in_train))
    found = []
    with progress.bar("neighbours", len(train) + len(rest)) as bar:
        for rows in (train, rest):
            found.append(nearest(points.points, train, rows, count))
            bar.update(len(rows))
    shares = np.zeros((len(first), len(cached.names)))
    for rows, one in zip((train, rest), found):
        shares[rows] = votes(one, cached.labels, len(cached.names))
    return Voted(first, train, rest, found, spread(shares, first))


def spread(values, first):
    """Return `values`, (n, classes), with copies' rows replaced in place.

    Args:
        first: integer (n,), see `Voted`.
    """
    copies = np.flatnonzero(first != np.arange(len(first)))
    values[copies] = values[first[copies]]
    return values


def nearest(points, candidates, queries, count):
    """Return the neighbours of the rows `queries` among `candidates`.

    A row is not a neighbour of itself.

    Args:
        points: float32 (n, q), of length 1.
        candidates, queries: row numbers; equal, or disjoint.
        count: neighbours per row; fewer if there are fewer candidates.
    """
    same = len(queries) == len(candidates) and (queries == candidates).all()
    count = min(count, len(candidates) - same)
    if count < 1 or not len(queries):
        return Neighbours(np.empty((len(queries), 0), np.int64),
                          np.empty((len(queries), 0), np.float32))
    index = NearestNeighbors(n_neighbors=count, algorithm="brute",
                             n_jobs=-1).fit(points[candidates])
    distance, rows = index.kneighbors(None if same else points[queries])
    return Neighbours(candidates[rows],
                      (1 - distance**2 / 2).astype(np.float32))


def votes(found, labels, classes):
    """Return the share of each class in the neighbours, float64 (n, classes).

    A neighbour counts exp(similarity / TEMPERATURE).
    """
    shares = np.zeros((len(found.rows), classes))
    best = found.similarity[:, :1]
    weights = np.exp((found.similarity - best).astype(float) / TEMPERATURE)
    rows = np.repeat(np.arange(len(shares)), found.rows.shape[1])
    np.add.at(shares, (rows, labels[found.rows].ravel()), weights.ravel())
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
