#!/usr/bin/env python3
"""Cached features in two dimensions."""
import contextlib
import importlib
import re

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from stages.lib.common import progress
from stages.lib.inspection import neighbours

KINDS = ("tsne", "pca", "umap")
COMPONENTS = 50    # before t-SNE, as van der Maaten and Hinton (2008) did
PERPLEXITY = 30    # scikit-learn's
ITERATIONS = 1000    # scikit-learn's
AROUND = 5    # points that place another one
ANGLE = 0.8    # half the time of scikit-learn's 0.5, same divergence


def project(points, kind, seed):
    """Return `points`, float32 (n, d), as float32 (n, 2).

    The same points, seed and processor give the same bytes: t-SNE has one
    thread, since several would add in any order.

    Args:
        kind: one of `KINDS`; umap needs umap-learn.
        seed: of t-SNE and UMAP.
    """
    if kind == "umap":
        umap = importlib.import_module("umap")    # an extra
        return umap.UMAP(random_state=seed).fit_transform(points)
    flat = PCA(min(2 if kind == "pca" else COMPONENTS, *points.shape),
               svd_solver="covariance_eigh").fit_transform(points)
    if kind == "tsne" and len(points) > 3:
        with threadpool_limits(1), _progress():
            flat = TSNE(init="pca", random_state=seed, angle=ANGLE,
                        perplexity=min(PERPLEXITY, (len(points) - 1) / 3),
                        max_iter=ITERATIONS, verbose=2).fit_transform(flat)
    both = np.zeros((len(points), 2), np.float32)
    both[:, :flat.shape[1]] = flat[:, :2]
    return both


def placed(space, chosen, flat):
    """Return where all images are in a projection of some, float32 (n, 2).

    An image that was not projected is at the median of the nearest ones that
    were, as Poličar et al., "openTSNE" (2019), start a new point; one that is
    not usable has NaN.

    Args:
        space: `metric.Space`.
        chosen: row numbers of those that were projected, ascending.
        flat: float32 (points, 2), where they are.
    """
    found = np.full((len(space.usable), 2), np.nan, np.float32)
    found[chosen] = flat
    others = np.setdiff1d(np.flatnonzero(space.usable), chosen)
    if len(others):
        near = neighbours.nearest(space.points, chosen, others, AROUND)
        found[others] = np.median(found[near.rows], axis=1)
    return found


class _Counter:
    """A standard output for t-SNE, which prints its progress there."""

    def __init__(self, bar):
        """Keep the bar to move."""
        self.bar = bar

    def write(self, text):
        """Move the bar to the iteration that `text` names, if any."""
        found = re.search(r"Iteration (\d+)", text)
        if found:
            self.bar.update(int(found[1]) - self.bar.n)

    def flush(self):
        """Do nothing."""


@contextlib.contextmanager
def _progress():
    """Show t-SNE's iterations."""
    with progress.bar("t-SNE", ITERATIONS, "iterations") as bar:
        with contextlib.redirect_stdout(_Counter(bar)):
            yield


def sample(rows, size, preferred, seed):
    """Return at most `size` of `rows`, ascending; `preferred` first.

    Args:
        rows: row numbers.
        preferred: some of them, the most important first.
        seed: of the draw of the others.
    """
    first = np.array(list(dict.fromkeys(preferred)), np.int64)[:size]
    others = np.setdiff1d(rows, first)
    drawn = np.random.default_rng(seed).choice(
        others, min(size - len(first), len(others)), replace=False)
    return np.sort(np.concatenate([first, drawn]))
