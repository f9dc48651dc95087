#!/usr/bin/env python3
"""The findings of the doctor as columns: a value for each image."""
import numpy as np

from stages.lib.common import files

NEAREST = 10    # neighbours of an image


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
        near: int64 (n, `NEAREST`), the nearest train images, their rows; -1
            where there are no more, or the image is not usable.
        near_similarity: float32 (n, `NEAREST`), cosine.
    """
    near, similarity, mean = _neighbours(examined)
    score, suspected = _labels(cached, examined)
    lists = {"leak": ("leaks", "near_leaks"),
             "duplicate": ("duplicates", "near_duplicates"),
             "far": ("outliers",)}
    return {"label_score": score, "suspected_label": suspected,
            "similarity": mean, "near": near, "near_similarity": similarity,
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


def _neighbours(examined):
    """Return the nearest train images of all, and their similarity."""
    voted = examined.voted
    near = np.full((len(voted.first), NEAREST), -1)
    similarity = np.full(near.shape, np.nan, np.float32)
    mean = np.full(len(near), np.nan, np.float32)
    for rows, one in zip((voted.train, voted.rest), voted.found):
        found = min(NEAREST, one.rows.shape[1])
        near[rows, :found] = one.rows[:, :found]
        similarity[rows, :found] = one.similarity[:, :found]
        if found:
            mean[rows] = one.similarity.mean(1)
    return tuple(values[voted.first] for values in (near, similarity, mean))
