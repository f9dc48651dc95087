#!/usr/bin/env python3
"""Nearest neighbours of cached features, and how they vote on the class."""
from typing import NamedTuple

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

from stages.lib.common import progress
from stages.lib.inspection import equal_images, metric

ROWS = 8192    # read, or searched for, at a time
MANY = 50_000    # images of train that vote, drawn at random from more
CELL = 1000    # images of train in a cell, in the mean
COMPARED = 8    # cells, as many images at least
KEPT = 10    # neighbours that are remembered
TEMPERATURE = 0.1    # of the votes' weights, in cosine similarity


class Space(NamedTuple):
    """Images in the space of distances.

    points: float32 (n, q), of length 1; 0 where not usable.
    usable: bool (n,), the images whose features are finite.
    vectors: float32 (n, d), the features.
    metric: `metric.Metric`.
    """

    points: np.ndarray
    usable: np.ndarray
    vectors: np.ndarray
    metric: metric.Metric

    def scaled(self, rows):
        """Return standardised features of length 1, float32 (k, d)."""
        return metric.unit(self.metric.standardised(self.vectors[rows])[0])


class Neighbours(NamedTuple):
    """Neighbours, nearest first: rows, int32, and cosine similarity, float32;
    both (n, k).
    """

    rows: np.ndarray
    similarity: np.ndarray


class Voted(NamedTuple):
    """Neighbours of all images in train, each image once, and their votes.

    first: integer (n,), the first row of the same image, in train if it is
        there.  An image is no neighbour of its copies.
    train, rest: row numbers of the images, usable and each once.
    voters: those of train that vote: all, or `MANY` of them.
    nearest: `Neighbours` of both, the `KEPT` nearest of those that vote.
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
    points = np.empty((len(vectors), found.axes.shape[1]), np.float32)
    usable = np.empty(len(vectors), bool)
    for k in range(0, len(vectors), ROWS):
        part = slice(k, k + ROWS)
        x, usable[part] = found.standardised(vectors[part])
        points[part] = found.points(x)
    return Space(points, usable, vectors, found)


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
    shares = np.zeros((len(first), len(cached.names)))
    similarity = np.full(len(first), np.nan, np.float32)
    found, voters = [], some(train, np.random.default_rng(0))
    with progress.bar("neighbours", len(train) + len(rest)) as bar:
        for rows in (train, rest):
            near = _empty(voters, rows, min(count, KEPT))
            for places, part in _searched(points.points, voters, rows, count):
                shares[rows[places]] = votes(part, cached.labels,
                                             len(cached.names))
                similarity[rows[places]] = part.similarity.mean(1)
                for kept, values in zip(near, part):
                    kept[places] = values[:, :KEPT]
                bar.update(len(places))
            found.append(near)
    return Voted(first, train, rest, voters, found, spread(similarity, first),
                 spread(shares, first))


def some(rows, random):
    """Return `rows`; of more than `MANY`, as many at random, ascending.

    Args:
        rows: row numbers, ascending.
        random: np.random.Generator.
    """
    if len(rows) <= MANY:
        return rows
    return np.sort(random.choice(rows, MANY, replace=False))


def spread(values, first):
    """Return `values`, (n, …), with copies' rows replaced in place.

    Args:
        first: integer (n,), see `Voted`.
    """
    copies = np.flatnonzero(first != np.arange(len(first)))
    values[copies] = values[first[copies]]
    return values


def nearest(points, candidates, queries, count):
    """Return the neighbours of the rows `queries` among `candidates`.

    A row is not a neighbour of itself.  Among more than `MANY` candidates,
    neighbours can be missed: see `_searches`.

    Args:
        points: float32 (n, q), of length 1.
        candidates, queries: row numbers.
        count: neighbours per row; fewer if there are fewer candidates.
    """
    found = _empty(candidates, queries, count)
    for places, part in _searched(points, candidates, queries, count):
        found.rows[places], found.similarity[places] = part
    return found


def _most(candidates, queries, count):
    """Return how many neighbours a query has, and whether it may be its own.
    """
    own = bool(np.isin(queries, candidates).any())
    return max(0, min(count, len(candidates) - own)), own


def _empty(candidates, queries, count):
    """Return `Neighbours` to fill, at most `count` of each query."""
    shape = len(queries), _most(candidates, queries, count)[0]
    return Neighbours(np.empty(shape, np.int32), np.empty(shape, np.float32))


def _searched(points, candidates, queries, count):
    """Yield places in `queries` and their `Neighbours`; args: see `nearest`.
    """
    count, own = _most(candidates, queries, count)
    if not count:
        return
    for places, among in _searches(points, candidates, queries, count):
        index = NearestNeighbors(n_neighbors=count + own, algorithm="brute",
                                 n_jobs=-1).fit(points[among])
        for k in range(0, len(places), ROWS):
            part = places[k:k + ROWS]
            distance, near = index.kneighbors(points[queries[part]])
            near = among[near]
            if own:
                others = near != queries[part, None]
                others[others.all(1), -1] = False    # it was not found
                near, distance = (values[others].reshape(-1, count)
                                  for values in (near, distance))
            yield part, Neighbours(near.astype(np.int32), (
                1 - distance**2 / 2).astype(np.float32))


def _searches(points, candidates, queries, count):
    """Yield places in `queries`, and the candidates to compare them with.

    These are all candidates; or, of more than `MANY`, those of the cells
    around the nearest centre of a k-means clustering, `COMPARED` times `CELL`
    or more.  Then time grows with the number of images, not with its square.
    """
    if len(candidates) <= MANY:
        yield np.arange(len(queries)), candidates
        return
    cells = len(candidates) // CELL
    centres = MiniBatchKMeans(
        cells, init="random", n_init=1, max_iter=10, batch_size=10 * cells,
        random_state=0).fit(points[some(
            candidates, np.random.default_rng(0))]).cluster_centers_
    order = pairwise_distances(centres).argsort(axis=1, kind="stable")
    of_candidates, of_queries = (
        _by_cell(points, rows, centres) for rows in (candidates, queries))
    sizes = np.array(list(map(len, of_candidates)))
    wanted = max(COMPARED * CELL, 2 * count)
    for near, places in zip(order, of_queries):
        around = near[:np.searchsorted(sizes[near].cumsum(), wanted) + 1]
        if len(places):
            yield places, candidates[np.sort(np.concatenate(
                [of_candidates[cell] for cell in around]))]


def _by_cell(points, rows, centres):
    """Return the places in `rows` of the points nearest to each centre."""
    cell = np.concatenate([
        pairwise_distances_argmin(points[rows[k:k + ROWS]], centres)
        for k in range(0, len(rows), ROWS)] or [np.empty(0, int)])
    return np.split(np.argsort(cell, kind="stable"), np.bincount(
        cell, minlength=len(centres)).cumsum()[:-1])


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
