#!/usr/bin/env python3
"""The doctor of cached features: what is in them, what is wrong with them."""
from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from stages.lib.common import files
from stages.lib.inspection import (
    array_statistics, duplicates, label_errors, neighbours)

CANDIDATES = 5    # nearest neighbours that may be near duplicates


class Examined(NamedTuple):
    """What the doctor found.

    findings: for JSON, see `examine`.
    space: `neighbours.Space` of all images.
    shares: float64 (n, classes), votes of the train rows; 0 if not usable.
    suspects: row numbers, worst first.
    twins, near: groups of equal rows; pairs of nearly equal ones, nearest
        first.
    """

    findings: dict
    neighbours.space: neighbours.Space
    shares: np.ndarray
    suspects: np.ndarray
    twins: list
    near: list


def examine(cached, given):
    """Return `Examined` of `cached`.

    Args:
        cached: `cached.Cached`.
        given: neighbours, near, dead, suspect and top, as the command's
            options of these names.
    """
    points = neighbours.space(cached.vectors, cached.of("train"))
    train, rest = (np.flatnonzero(points.usable & (cached.of("train") == one))
                   for one in (True, False))
    found = [neighbours.nearest(points.points, train, rows, given.neighbours)
             for rows in (train, rest)]
    inner = neighbours.nearest(points.points, rest, rest, CANDIDATES)
    shares = np.zeros((len(cached.labels), len(cached.names)))
    for rows, one in zip((train, rest), found):
        shares[rows] = neighbours.votes(one, cached.labels, len(cached.names))
    pairs = [pair for rows, one in ((train, found[0]), (rest, found[1]),
                                    (rest, inner))
             for pair in duplicates.near(_first(one), rows, points.scaled,
                                         given.near)]
    twins = duplicates.exact(cached.images, cached.vectors, points.usable)
    pairs = _unequal(pairs, twins)
    judged = np.concatenate([train, rest])
    believed, other = _believed(cached, points, shares, train, rest)
    order = np.argsort(believed, kind="stable")
    order = order[believed[order] <= given.suspect]
    similarity = np.concatenate([one.similarity.mean(1) for one in found])
    findings = {
        "key": cached.manifest["key"], "class_names": cached.names,
        "arrays": [array_statistics.statistics(path, given.dead)
                   for path in cached.manifest["arrays"]
                   if path.endswith("_x.npy")],
        **_copies(cached, twins, pairs),
        **_classes(cached, shares, judged, given.top),
        "suspects": [{
            **cached.where(judged[k]),
            "class": cached.names[cached.labels[judged[k]]],
            "neighbours_say": cached.names[other[k]],
            "belief": float(believed[k])} for k in order],
        "far": [{**cached.where(judged[k]),
                 "similarity": float(similarity[k])}
                for k in np.argsort(similarity, kind="stable")[:given.top]]}
    return Examined(findings, points, shares, judged[order],
                    twins, [list(pair[:2]) for pair in pairs])


def _believed(cached, points, shares, train, rest):
    """Return the belief in the labels of train and rest, and in what instead.

    The geometric mean of the neighbours' and the classifier's.
    """
    judged = np.concatenate([train, rest])
    labels = cached.labels[judged]
    votes_for, other = label_errors.ratio(shares[judged], labels)
    said = label_errors.probabilities(points.points, cached.labels, train, rest,
                                len(cached.names))
    return np.sqrt(votes_for * label_errors.ratio(said[judged], labels)[0]), other


def confusion(cached, shares, rows):
    """Return votes against labels of `rows`, counts (classes, classes)."""
    return confusion_matrix(cached.labels[rows], shares[rows].argmax(1),
                            labels=range(len(cached.names)))


def _first(found):
    """Return the nearest of the neighbours, candidates for duplicates."""
    return neighbours.Neighbours(*(values[:, :CANDIDATES] for values in found))


def _copies(cached, twins, pairs):
    """Return exact and near duplicates, those across splits apart."""
    found = {"duplicates": [], "leaks": [], "near_duplicates": [],
             "near_leaks": []}
    for rows in twins:
        leak = len(set(cached.split[rows])) > 1
        found["leaks" if leak else "duplicates"].append(
            [cached.where(k) for k in rows])
    for a, b, distance in pairs:
        leak = cached.split[a] != cached.split[b]
        found["near_leaks" if leak else "near_duplicates"].append(
            {"rows": [cached.where(a), cached.where(b)],
             "distance": distance})
    return found


def _unequal(pairs, twins):
    """Return `pairs` without those of one group of `twins`, nearest first."""
    group = {k: number for number, rows in enumerate(twins) for k in rows}
    return sorted((pair for pair in pairs
                   if group.get(pair[0], -1) != group.get(pair[1], -2)),
                  key=lambda pair: pair[2])


def _classes(cached, shares, judged, top):
    """Return accuracy of the votes by split, and the most confused pairs."""
    right = shares.argmax(1) == cached.labels
    splits = {split: judged[cached.of(split)[judged]]
              for split in files.SPLITS}
    counts = confusion(cached, shares, judged)
    mistaken = counts + counts.T
    pairs = sorted(combinations(range(len(cached.names)), 2),
                   key=lambda pair: -mistaken[pair])[:top]
    return {"accuracy": {split: float(right[rows].mean())
                         for split, rows in splits.items() if len(rows)},
            "pairs": [{"classes": [cached.names[a], cached.names[b]],
                       "mistaken": int(mistaken[a, b]),
                       "separability": _separability(
                           shares[judged], cached.labels[judged], a, b)}
                      for a, b in pairs]}


def _separability(shares, labels, a, b):
    """Return the area under the ROC curve of class `b` against `a`, 0..1.

    That is the probability that a row of `b` has more votes for `b`, against
    `a`, than a row of `a`; None where one class has no rows.
    """
    rows = np.flatnonzero((labels == a) | (labels == b))
    if len(set(labels[rows])) < 2:
        return None
    return float(roc_auc_score(labels[rows] == b,
                               shares[rows, b] - shares[rows, a]))
