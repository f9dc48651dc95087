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

KINDS = ("tsne", "pca", "umap")
COMPONENTS = 50    # before t-SNE, as van der Maaten and Hinton (2008) did
PERPLEXITY = 30    # scikit-learn's
ITERATIONS = 1000    # scikit-learn's
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
