#!/usr/bin/env python3
"""Cached features in two dimensions."""
import importlib

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from stages.lib.errors import ParameterError

KINDS = ("tsne", "pca", "umap")
COMPONENTS = 50    # before t-SNE, as van der Maaten and Hinton (2008) did
PERPLEXITY = 30    # scikit-learn's


def project(points, kind, seed):
    """Return `points`, float32 (n, d), as float32 (n, 2).

    The same points, seed and processor give the same bytes: t-SNE has one
    thread, since more would add up its sums in any order.

    Args:
        kind: one of `KINDS`; umap only where umap-learn is installed.
        seed: of t-SNE and UMAP.

    Raises:
        ParameterError: umap-learn is not installed.
    """
    if kind == "umap":
        try:
            umap = importlib.import_module("umap")
        except ImportError as error:
            raise ParameterError("--projection umap needs a package: pip "
                                 "install umap-learn") from error
        return umap.UMAP(random_state=seed).fit_transform(points)
    flat = PCA(min(2 if kind == "pca" else COMPONENTS, *points.shape),
               svd_solver="covariance_eigh").fit_transform(points)
    if kind == "tsne" and len(points) > 3:
        with threadpool_limits(1):
            flat = TSNE(init="pca", random_state=seed,
                        perplexity=min(PERPLEXITY, (len(points) - 1) / 3)
                        ).fit_transform(flat)
    both = np.zeros((len(points), 2), np.float32)
    both[:, :flat.shape[1]] = flat[:, :2]
    return both


def sample(rows, size, wanted, seed):
    """Return at most `size` of `rows`, ascending; `wanted` ones first.

    Args:
        rows: row numbers.
        wanted: some of them, the most important first.
        seed: of the draw of the others.
    """
    first = np.array(list(dict.fromkeys(wanted)), np.int64)[:size]
    others = np.setdiff1d(rows, first)
    drawn = np.random.default_rng(seed).choice(
        others, min(size - len(first), len(others)), replace=False)
    return np.sort(np.concatenate([first, drawn]))
