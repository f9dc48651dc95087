#!/usr/bin/env python3
"""Exact and near duplicates, within a split or across splits."""
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.lib.common import digests

ROWS = 4096    # pairs compared at a time


def exact(images, vectors, usable):
    """Return groups of equal images, lists of rows, ascending.

    Images are equal if their pixels or their features are the same to the
    bit.  Rows without usable features are compared by pixels only.

    Args:
        images: digests, void (n,).
        vectors: float32 (n, d), C-contiguous.
        usable: bool (n,).
    """
    features = np.array(digests.of_all(lambda rows: vectors[rows],
                                       len(vectors)))
    features = features.view("V16")[:, 0]
    features[~usable] = images[~usable]
    links = np.concatenate([_links(images), _links(features)])
    graph = coo_matrix((np.ones(len(links)), links.T), (len(images),) * 2)
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    return sorted(rows.tolist() for rows in np.split(order, ends[:-1])
                  if len(rows) > 1)


def near(found, queries, space, threshold):
    """Return pairs of nearly equal images, nearest first.

    Args:
        found: `neighbours.Neighbours` of `queries`, the candidates.
        queries: row numbers.
        space: `metric.Space`, in which features are compared.
        threshold: greatest cosine distance of a pair.

    Returns:
        A list of (row, row, distance), the lower row first, each pair once.
    """
    first = np.repeat(queries, found.rows.shape[1])
    second, count = found.rows.ravel(), len(space.usable)
    pairs = np.unique(np.minimum(first, second) * count
                      + np.maximum(first, second))
    distance = np.empty(len(pairs), np.float32)
    for k in range(0, len(pairs), ROWS):
        rows = divmod(pairs[k:k + ROWS], count)
        distance[k:k + ROWS] = 1 - np.einsum(
            "nd,nd->n", *map(space.scaled, rows))
    close = np.flatnonzero(distance <= threshold)
    close = close[np.argsort(distance[close], kind="stable")]
    return [(*divmod(int(pairs[k]), count), max(0.0, float(distance[k])))
            for k in close]


def _links(values):
    """Return pairs of rows that connect all rows of equal value, (k, 2)."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    same = place[order[1:]] == place[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], 1)
