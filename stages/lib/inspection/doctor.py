#!/usr/bin/env python3
"""The doctor of cached features: statistics, duplicates, label errors."""
import itertools
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from stages.lib.common import files
from stages.lib.inspection import (
    array_statistics, duplicates, equal_images, label_errors, metric,
    neighbours, voting)
from stages.lib.results import scores

CANDIDATES = 5    # nearest neighbours that may be near duplicates


class Examined(NamedTuple):
    """What the doctor found.

    findings: for JSON, see `examine`.
    space: `metric.Space` of all images.
    voted: their `voting.Voted`.
    suspects: their `label_errors.Suspects`.
    label_errors: row numbers of suspected label errors, worst first; of
        copies in one class the first.
    more_label_errors: those after them, up to --top with them.
    exact_duplicates: groups of equal rows.
    near_duplicates: pairs of nearly equal rows, nearest first; of copies the
        first.
    """

    findings: dict
    space: metric.Space
    voted: voting.Voted
    suspects: label_errors.Suspects
    label_errors: np.ndarray
    more_label_errors: np.ndarray
    exact_duplicates: list
    near_duplicates: list

    @property
    def shares(self):
        """Return the votes of the train rows, 0 where not usable."""
        return self.voted.shares


def examine(cached, given):
    """Return `Examined` of `cached`.

    Args:
        cached: `cached_features.CachedFeatures`.
        given: neighbours, near, dead, false_suspects and top, as the command's
            options of these names.
    """
    points = metric.space(cached.vectors, cached.in_split("train"))
    voted = voting.voted(cached, points, given.neighbours)
    exact, near = _duplicates(cached, points, voted, given.near)
    suspects = label_errors.suspects(cached, points, voted,
                                     given.false_suspects)
    findings = {
        "key": cached.manifest["key"], "class_names": cached.names,
        "arrays": [array_statistics.statistics(path, given.dead)
                   for path in cached.manifest["arrays"]
                   if path.endswith("_x.npy")],
        "voters": len(voted.voters),
        "approximate": voted.sampled,
        "conflicts": equal_images.conflicts(cached),
        "copies": equal_images.copies(cached),
        **_copies(cached, exact, near),
        **_classes(cached, voted.shares, np.flatnonzero(points.usable),
                   given.top),
        **_label_errors(cached, suspects, given),
        "outliers": _outliers(cached, voted, given.top)}
    return Examined(findings, points, voted, suspects,
                    *np.split(suspects.rows[:max(suspects.found, given.top)],
                              [suspects.found]), exact,
                    [list(pair[:2]) for pair in near])


def _label_errors(cached, suspects, given):
    """Return the findings about labels.

    `more_label_errors` are those after the suspected ones, up to `given.top`
    with them.
    """
    found = suspects.found
    entries = [{
        **cached.where(row), "class": cached.names[cached.labels[row]],
        "neighbours_predict": cached.names[other],
        "label_score": float(score), "false": float(false),
        "copies": int(copies)}
        for row, score, other, false, copies in itertools.islice(
            zip(*suspects[:5]), max(found, given.top))]
    return {
        "label_errors": entries[:found], "more_label_errors": entries[found:],
        "label_noise": {
            "random_labels": suspects.noise.random,
            "false_suspects": float(suspects.false[:found].mean())
            if found else None, "accepted": given.false_suspects}}


def _outliers(cached, voted, top):
    """Return the images that resemble train images least, each image once."""
    rows = np.concatenate([voted.train, voted.rest])
    similarity = np.nan_to_num(voted.similarity[rows])
    times = np.bincount(voted.first)
    return [{**cached.where(rows[k]), "similarity": float(similarity[k]),
             "copies": int(times[rows[k]]) - 1}
            for k in np.argsort(similarity, kind="stable")[:top]]


def _duplicates(cached, points, voted, threshold):
    """Return groups of equal rows, and (row, row, distance) of similar ones.

    Args:
        cached, points: as in `examine`.
        voted: `voting.Voted`.
        threshold: greatest distance of near duplicates.
    """
    train, rest, found = voted.train, voted.rest, voted.nearest
    if voted.sampled:
        found = [neighbours.nearest(points.points, train, rows, CANDIDATES)
                 for rows in (train, rest)]
    inner = neighbours.nearest(points.points, rest, rest, CANDIDATES)
    near = [pair for rows, one in ((train, found[0]), (rest, found[1]),
                                   (rest, inner))
            for pair in duplicates.near(_first(one), rows, points, threshold)]
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
