#!/usr/bin/env python3
"""The findings of the doctor as columns: a value for each image."""
import numpy as np

from stages.lib.common import files
from stages.lib.inspection import voting


def columns(cached, examined):
    """Return what the doctor found, a dictionary of arrays of n rows.

    Copies of an image have its neighbours; in its class, also its score.

    Args:
        cached: `cached_features.CachedFeatures`.
        examined: `doctor.Examined`.

    Returns:
        suspected_label, leak, duplicate, far: bool (n,), the images in the
            doctor's lists of these names; far: its outliers.
        label_score: float32 (n,), below 1; NaN if no class is preferred.
        similarity: float32 (n,), mean of the neighbours that vote; NaN where
            not usable.
        near: int64 (n, `voting.KEPT`), rows of the nearest train images;
            -1 where there are no more, or the image is not usable.
        near_similarity: float32 (n, `voting.KEPT`), cosine.
    """
    near, similarity = _neighbours(examined.voted)
    score, suspected = _labels(cached, examined)
    lists = {"leak": ("leaks", "near_leaks"),
             "duplicate": ("duplicates", "near_duplicates"),
             "far": ("outliers",)}
    return {"label_score": score, "suspected_label": suspected,
            "similarity": examined.voted.similarity, "near": near,
            "near_similarity": similarity,
            **{name: _listed(cached, examined.findings, kinds)
               for name, kinds in lists.items()}}


def _listed(cached, findings, kinds):
    """Return which images are in the lists `kinds`, bool (n,)."""
    start = {split: int(np.argmax(cached.in_split(split)))
             for split in files.SPLITS}
    found = np.zeros(len(cached.labels), bool)
    for one in (one for kind in kinds for one in findings[kind]):
        group = one if isinstance(one, list) else one.get("rows", [one])
        for where in group:
            found[start[where["split"]] + where["row"]] = True
    return found


def _labels(cached, examined):
    """Return label scores, and which labels are suspected."""
    suspects, first = examined.suspects, examined.voted.first
    kind = first * len(cached.names) + cached.labels    # copies of a class
    scores = np.full(len(kind), np.nan, np.float32)
    suspected = np.zeros(len(kind), bool)
    scores[suspects.rows] = suspects.scores
    suspected[suspects.rows[:suspects.found]] = True
    _, once, place = np.unique(kind, return_index=True, return_inverse=True)
    return scores[once][place], suspected[once][place]


def _neighbours(voted):
    """Return the nearest train images of all, and their similarity."""
    near = np.full((len(voted.first), voting.KEPT), -1)
    similarity = np.full(near.shape, np.nan, np.float32)
    for rows, one in zip((voted.train, voted.rest), voted.nearest):
        near[rows, :one.rows.shape[1]] = one.rows
        similarity[rows, :one.rows.shape[1]] = one.similarity
    return tuple(values[voted.first] for values in (near, similarity))
