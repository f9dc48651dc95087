#!/usr/bin/env python3
"""Search by example: the cached images nearest to given ones.

The features are read in blocks, so that memory does not grow with the number
of images.  Distances are those of the doctor, see `metric`.
"""
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from stages.lib.common import files, manifest, progress
from stages.lib.inspection import cached_features, metric


class Found(NamedTuple):
    """Images near an example, nearest first.

    split, row: integer (k,); `split` counts in `files.SPLITS`.
    distance: float64 (k,), cosine distances, 0..2.
    """

    split: np.ndarray
    row: np.ndarray
    distance: np.ndarray


class CachedImages:
    """The cached features of all splits, and their labels, memory-mapped."""

    def __init__(self):
        """Open them.

        Raises:
            ArtefactError: one is missing, damaged or belongs to another run.
        """
        self.names = manifest.read()["class_names"]
        self._x, self.labels = zip(*map(manifest.labelled, files.SPLITS))

    def vector(self, split, row):
        """Return the features of one image, float32 (d,)."""
        x = self._x[files.SPLITS.index(split)]
        return cached_features.pooled(x[row:row + 1])[0]

    def nearest(self, vectors, excluded, count):
        """Return the `Found` images of each example, a list.

        Args:
            vectors: float32 (m, d), features of the examples, finite.
            excluded: split and row of each example, which is not its own
                neighbour; None for a new image.
            count: images for each; fewer if there are fewer.

        Raises:
            ArtefactError: as `metric.fitted`.
        """
        space = metric.fitted(
            lambda: self._vectors(range(len(self._x)), "read"),
            lambda: self._vectors([0], "fit"))
        queries = space.points(space.standardised(vectors)[0])
        best = [(np.empty(0), np.empty((0, 2), np.int64))] * len(queries)
        for split in range(len(self._x)):
            first = 0
            for block in self._vectors([split], "search"):
                found = _nearest(space, queries, block, count + 1)
                best = [_merged(one, distance, split, rows + first, count + 1)
                        for one, distance, rows in zip(best, *found)]
                first += len(block)
        return [_without(*one, where, count)
                for one, where in zip(best, excluded)]

    def _vectors(self, splits, title):
        """Yield the features of some splits in blocks, maps pooled."""
        with progress.bar(title, sum(len(self._x[k]) for k in splits)) as bar:
            for x in (self._x[k] for k in splits):
                for rows in cached_features.blocks(x):
                    block = cached_features.pooled(x[rows])
                    yield block
                    bar.update(len(block))


def _nearest(space, queries, block, count):
    """Return cosine distances and rows of a block's nearest, two arrays."""
    x, usable = space.standardised(block)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return np.empty((len(queries), 0)), np.empty((len(queries), 0), int)
    index = NearestNeighbors(n_neighbors=min(count, len(rows)),
                             algorithm="brute", n_jobs=-1)
    distance, near = index.fit(space.points(x)[rows]).kneighbors(queries)
    return distance.astype(np.float64)**2 / 2, rows[near]


def _merged(best, distance, split, rows, count):
    """Return the `count` nearest of `best` and of these rows of a split.

    `best` has distances (k,) and places, split and row, (k, 2).
    """
    distances = np.concatenate([best[0], distance])
    places = np.concatenate(
        [best[1], np.stack([np.full(len(rows), split), rows], 1)])
    order = np.argsort(distances, kind="stable")[:count]
    return distances[order], places[order]


def _without(distance, place, excluded, count):
    """Return `Found` without the example itself."""
    kept = np.ones(len(place), bool)
    if excluded is not None:
        kept = (place != excluded).any(1)
    return Found(*place[kept][:count].T, distance[kept][:count])
