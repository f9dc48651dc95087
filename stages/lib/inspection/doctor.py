#!/usr/bin/env python3
"""The doctor of cached features: statistics, duplicates, label errors."""
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from stages.lib.common import files
from stages.lib.inspection import (
    array_statistics, duplicates, label_errors, neighbours)
from stages.lib.results import scores

CANDIDATES = 5    # nearest neighbours that may be near duplicates


class Examined(NamedTuple):
    """What the doctor found.

    findings: for JSON, see `examine`.
    space: `neighbours.Space` of all images.
    shares: float64 (n, classes), votes of the train rows; 0 if not usable.
    label_errors: row numbers of suspected label errors, worst first.
    exact_duplicates: groups of equal rows.
    near_duplicates: pairs of nearly equal rows, nearest first.
    """

    findings: dict
    space: neighbours.Space
    shares: np.ndarray
    label_errors: np.ndarray
    exact_duplicates: list
    near_duplicates: list


def examine(cached, given):
    """Return `Examined` of `cached`.

    Args:
        cached: `cached_features.CachedFeatures`.
        given: neighbours, near, dead, label_score and top, as the command's
            options of these names.
    """
    in_train = cached.in_split("train")
    points = neighbours.space(cached.vectors, in_train)
    train, rest = (np.flatnonzero(points.usable & rows)
                   for rows in (in_train, ~in_train))
    found = [neighbours.nearest(points.points, train, rows, given.neighbours)
             for rows in (train, rest)]
    shares = np.zeros((len(cached.labels), len(cached.names)))
    for rows, one in zip((train, rest), found):
        shares[rows] = neighbours.votes(one, cached.labels, len(cached.names))
    exact, near = _duplicates(cached, points, train, rest, found, given.near)
    rows = np.concatenate([train, rest])
    label_scores, other = label_errors.scores(
        shares, label_errors.predictions(
            points.points, cached.labels, train, rest, len(cached.names)),
        cached.labels)
    suspects = rows[np.argsort(label_scores[rows], kind="stable")]
    suspects = suspects[label_scores[suspects] <= given.label_score]
    similarity = np.concatenate([one.similarity.mean(1) for one in found])
    findings = {
        "key": cached.manifest["key"], "class_names": cached.names,
        "arrays": [array_statistics.statistics(path, given.dead)
                   for path in cached.manifest["arrays"]
                   if path.endswith("_x.npy")],
        **_copies(cached, exact, near),
        **_classes(cached, shares, rows, given.top),
        "label_errors": [{
            **cached.where(k), "class": cached.names[cached.labels[k]],
            "neighbours_predict": cached.names[other[k]],
            "label_score": float(label_scores[k])} for k in suspects],
        "outliers": [{
            **cached.where(rows[k]), "similarity": float(similarity[k])}
            for k in np.argsort(similarity, kind="stable")[:given.top]]}
    return Examined(findings, points, shares, suspects, exact,
                    [list(pair[:2]) for pair in near])


def _duplicates(cached, points, train, rest, found, threshold):
    """Return groups of equal rows, and (row, row, distance) of similar ones.

    Args:
        cached, points: as in `examine`.
        train, rest: row numbers.
        found: `Neighbours` in train of both.
        threshold: greatest distance of near duplicates.
    """
    inner = neighbours.nearest(points.points, rest, rest, CANDIDATES)
    near = [pair for rows, one in ((train, found[0]), (rest, found[1]),
                                   (rest, inner))
            for pair in duplicates.near(_first(one), rows, points.scaled,
                                        threshold)]
    exact = duplicates.exact(cached.images, cached.vectors, points.usable)
    return exact, _unequal(near, exact)


def _first(found):
    """Return the nearest of the neighbours, candidates for duplicates."""
    return neighbours.Neighbours(*(values[:, :CANDIDATES] for values in found))


def _copies(cached, exact, near):
    """Return exact and near duplicates; across splits, they are leaks."""
    found = {"duplicates": [], "leaks": [], "near_duplicates": [],
             "near_leaks": []}
    for rows in exact:
        leak = len(set(cached.split[rows])) > 1
        found["leaks" if leak else "duplicates"].append(
            [cached.where(k) for k in rows])
    for a, b, distance in near:
        leak = cached.split[a] != cached.split[b]
        found["near_leaks" if leak else "near_duplicates"].append(
            {"rows": [cached.where(a), cached.where(b)],
             "distance": distance})
    return found


def _unequal(pairs, exact):
    """Return `pairs` that are not exact duplicates, nearest first."""
    group = {k: number for number, rows in enumerate(exact) for k in rows}
    return sorted((pair for pair in pairs
                   if group.get(pair[0], -1) != group.get(pair[1], -2)),
                  key=lambda pair: pair[2])


def _classes(cached, shares, usable, top):
    """Return accuracy of the votes by split, and the most confused pairs."""
    votes = shares.argmax(1)
    right = votes == cached.labels
    splits = {split: usable[cached.in_split(split)[usable]]
              for split in files.SPLITS}
    pairs, mistaken = scores.confused_pairs(cached.labels[usable],
                                            votes[usable])
    return {"accuracy": {split: float(right[rows].mean())
                         for split, rows in splits.items() if len(rows)},
            "pairs": [{"classes": [cached.names[a], cached.names[b]],
                       "mistaken": int(count),
                       "separability": _separability(
                           shares, cached.labels, usable, a, b)}
                      for (a, b), count in zip(pairs[:top], mistaken)]}


def _separability(shares, labels, usable, a, b):
    """Return the area under the ROC curve of class `b` against `a`, 0..1.

    That is the probability that a row of `b` has more votes for `b`, against
    `a`, than a row of `a`; None where one class has no rows.
    """
    rows = usable[np.isin(labels[usable], (a, b))]
    if len(set(labels[rows])) < 2:
        return None
    return float(roc_auc_score(labels[rows] == b,
                               shares[rows, b] - shares[rows, a]))
