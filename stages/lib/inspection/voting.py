#!/usr/bin/env python3
"""How the nearest neighbours in train vote on the class of each image."""
from typing import NamedTuple

import numpy as np

from stages.lib.common import progress
from stages.lib.inspection import equal_images, neighbours

KEPT = 10    # neighbours that are remembered
TEMPERATURE = 0.1    # of the votes' weights, in cosine similarity


class Voted(NamedTuple):
    """Neighbours of all images in train, each image once, and their votes.

    first: integer (n,), the first row of the same image, in train if it is
        there.  An image is no neighbour of its copies.
    train, rest: row numbers of the images, usable and each once.
    voters: those of train that vote: all, or `neighbours.MANY` of them.
    nearest: `neighbours.Neighbours` of both, the `KEPT` nearest of those that
        vote.
    similarity: float32 (n,), mean of all that vote; NaN if none do.
    shares: float64 (n, classes), votes, equal for copies; 0 if not usable.
    """

    first: np.ndarray
    train: np.ndarray
    rest: np.ndarray
    voters: np.ndarray
    nearest: list
    similarity: np.ndarray
    shares: np.ndarray

    @property
    def sampled(self):
        """Return whether only some of train vote."""
        return len(self.voters) < len(self.train)


def voted(cached, points, count):
    """Return the neighbours of all images, and their votes, as `Voted`.

    Args:
        cached: `cached_features.CachedFeatures`.
        points: their `metric.Space`.
        count: neighbours that vote.
    """
    first = equal_images.first_of_equals(cached.images, points.usable)
    once = points.usable & (first == np.arange(len(first)))
    in_train = cached.in_split("train")
    train, rest = (np.flatnonzero(once & rows)
                   for rows in (in_train, ~in_train))
    shares = np.zeros((len(first), len(cached.names)))
    similarity = np.full(len(first), np.nan, np.float32)
    found, voters = [], neighbours.some(train, np.random.default_rng(0))
    with progress.bar("neighbours", len(train) + len(rest)) as bar:
        for rows in (train, rest):
            near = neighbours.empty(voters, rows, min(count, KEPT))
            for places, part in neighbours.searched(
                    points.points, voters, rows, count):
                shares[rows[places]] = votes(part, cached.labels,
                                             len(cached.names))
                similarity[rows[places]] = part.similarity.mean(1)
                for kept, values in zip(near, part):
                    kept[places] = values[:, :KEPT]
                bar.update(len(places))
            found.append(near)
    return Voted(first, train, rest, voters, found, spread(similarity, first),
                 spread(shares, first))


def spread(values, first):
    """Return `values`, (n, …), with copies' rows replaced in place.

    Args:
        first: integer (n,), see `Voted`.
    """
    copies = np.flatnonzero(first != np.arange(len(first)))
    values[copies] = values[first[copies]]
    return values


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
