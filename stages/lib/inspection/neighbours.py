#!/usr/bin/env python3
"""Nearest neighbours in the space of distances, of any number of images."""
from typing import NamedTuple

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors

ROWS = 8192    # searched for at a time
MANY = 50_000    # images; of more, not all are compared
CELL = 1000    # images of train in a cell, in the mean
COMPARED = 8    # cells, as many images at least


class Neighbours(NamedTuple):
    """Neighbours, nearest first: rows, int32, and cosine similarity, float32;
    both (n, k).
    """

    rows: np.ndarray
    similarity: np.ndarray


def some(rows, random):
    """Return `rows`; of more than `MANY`, as many at random, ascending.

    Args:
        rows: row numbers, ascending.
        random: np.random.Generator.
    """
    if len(rows) <= MANY:
        return rows
    return np.sort(random.choice(rows, MANY, replace=False))


def nearest(points, candidates, queries, count):
    """Return the neighbours of the rows `queries` among `candidates`.

    A row is not a neighbour of itself.  Among more than `MANY` candidates,
    neighbours can be missed: see `_searches`.

    Args:
        points: float32 (n, q), of length 1.
        candidates, queries: row numbers.
        count: neighbours per row; fewer if there are fewer candidates.
    """
    found = empty(candidates, queries, count)
    for places, part in searched(points, candidates, queries, count):
        found.rows[places], found.similarity[places] = part
    return found


def _most(candidates, queries, count):
    """Return how many neighbours a query has, and whether it may be its own.
    """
    own = bool(np.isin(queries, candidates).any())
    return max(0, min(count, len(candidates) - own)), own


def empty(candidates, queries, count):
    """Return `Neighbours` to fill, for each query; args: see `nearest`."""
    shape = len(queries), _most(candidates, queries, count)[0]
    return Neighbours(np.empty(shape, np.int32), np.empty(shape, np.float32))


def searched(points, candidates, queries, count):
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
