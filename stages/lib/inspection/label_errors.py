#!/usr/bin/env python3
"""Label scores: how well neighbours and a linear classifier support a label.

The classifier predicts no row on which it was fitted, as in Northcutt et al.,
"Confident Learning" (2021).  Both together find more wrong labels than either
alone (docs/experiments.md).
"""
import gc
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from stages.lib.common import progress
from stages.lib.inspection import label_noise, neighbours, voting

FOLDS = 5
STRENGTH = 0.01    # scikit-learn's C
ITERATIONS = 10    # as accurate as 18 to 30: docs/experiments.md
ROWS = 1024        # copied at a time
FLOOR = 1e-3       # added to shares, so that ratios are finite


class Suspects(NamedTuple):
    """Images with another class preferred to their label, worst first.

    Copies of an image in its class count once.

    rows: integer (m,).
    scores: float (m,), of their labels, below 1; see `scores`.
    other: integer (m,), the classes that neighbours prefer.
    false: float (m,), probabilities that the label is right.
    copies: integer (m,), how many there are besides the row.
    found: how many of the first rows are suspected label errors.
    noise: `label_noise.Noise`.
    predicted: float64 (n, classes), of all images, see `predictions`.
    """

    rows: np.ndarray
    scores: np.ndarray
    other: np.ndarray
    false: np.ndarray
    copies: np.ndarray
    found: int
    noise: label_noise.Noise
    predicted: np.ndarray


def suspects(cached, points, voted, share):
    """Return the `Suspects` among all images.

    Args:
        cached: `cached_features.CachedFeatures`.
        points: their `metric.Space`.
        voted: their `voting.Voted`.
        share: greatest expected share of false ones, 0..1.
    """
    classes = len(cached.names)
    rows = np.flatnonzero(points.usable)
    _, once, times = np.unique(
        voted.first[rows] * classes + cached.labels[rows],
        return_index=True, return_counts=True)
    rows = rows[once]
    predicted = voting.spread(predictions(
        points.points, cached.labels, voted.train, voted.rest, classes),
        voted.first)
    found, other, counts = scores(voted.shares, predicted, cached.labels, rows)
    noise = label_noise.fitted(counts, classes)
    order = np.argsort(found, kind="stable")
    order = order[found[order] < 1]
    false = label_noise.false_probability(noise, found[order])
    return Suspects(rows[order], found[order], other[order], false,
                    times[order] - 1, label_noise.suspected(false, share),
                    noise, predicted)


def scores(neighbour_shares, predicted, labels, rows):
    """Return label scores, the classes preferred instead, and their counts.

    The score of a class is the geometric mean of two ratios: its share over
    that of the first other class, among neighbours and in the classifier's
    predictions.

    Args:
        neighbour_shares, predicted: float (n, classes).
        labels: integer (n,).
        rows: integer (m,), the rows to score.

    Returns:
        float (m,), scores of the labels, below 1 if another class is
        preferred; integer (m,), which one the neighbours prefer; and the
        counts of `label_noise.count`.
    """
    found, other = np.empty(len(rows)), np.empty(len(rows), np.int64)
    counts = np.zeros((2, label_noise.BINS), np.int64)
    for first in range(0, len(rows), ROWS):
        part = slice(first, first + ROWS)
        shares, own = neighbour_shares[rows[part]], labels[rows[part]]
        every = np.sqrt(ratios(shares) * ratios(predicted[rows[part]]))
        place = np.arange(len(own)), own
        counts += label_noise.count(every, own)
        found[part] = every[place]
        shares[place] = -1
        other[part] = shares.argmax(1)
    return found, other, counts


def predictions(points, labels, train, rest, classes):
    """Return predictions of a logistic regression, float64 (n, classes).

    A row of train is predicted by a fit on the other folds, any other row by
    a fit on all of train, or on `neighbours.MANY` rows of them at random; a
    row in neither gets zeros.

    Args:
        points: float32 (n, q), of length 1.
        labels: integer (n,).
        train, rest: row numbers.
        classes: number of classes.
    """
    def x(rows):
        """Return points whose deviation is 1."""
        return points[rows] * np.sqrt(points.shape[1], dtype=np.float32)

    random, most = np.random.default_rng(0), neighbours.MANY
    found = np.zeros((len(labels), classes))
    folds = [(train, rest)]
    if len(train) >= FOLDS:
        folds += [(train[fit], train[held_out]) for fit, held_out in KFold(
            FOLDS, shuffle=True, random_state=0).split(train)]
    with progress.bar("label errors", len(folds), "fits") as bar:
        for fit, held_out in folds:
            fit = neighbours.some(fit, random)
            seen = np.unique(labels[fit])
            if len(seen) == 1:
                found[held_out, seen[0]] = 1
            elif len(held_out):
                gc.collect()    # SciPy left the last fit's data in a cycle
                model = _fitted(x(fit), labels[fit])
                for part in np.split(held_out, range(most, len(held_out),
                                                     most)):
                    found[part[:, None], seen] = model.predict_proba(x(part))
            bar.update(1)
    return found


def _fitted(x, labels):
    """Return a logistic regression of `labels`, integer (n,), on `x`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(
            x, labels)


def ratios(shares):
    """Return the share of each class over that of the first other class.

    Args:
        shares: float (n, classes), two classes or more.

    Returns:
        float (n, classes), above 0.
    """
    second, best = np.partition(shares, -2)[:, -2:].T[:, :, None]
    return (shares + FLOOR) / (
        np.where(shares < best, best, second) + FLOOR)
