#!/usr/bin/env python3
"""Label scores: how well neighbours and a linear classifier support a label.

The classifier predicts no row on which it was fitted, as in Northcutt et al.,
"Confident Learning" (2021).  Both together find more wrong labels than either
alone (docs/experiments.md).
"""
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

FOLDS = 5
STRENGTH = 0.01    # scikit-learn's C
ROWS = 1024        # copied at a time
FLOOR = 1e-3       # added to shares, so that ratios are finite


def scores(neighbour_shares, predictions, labels):
    """Return the label score of each row, and the class preferred instead.

    The geometric mean of two ratios: the share of the label over that of the
    first other class, among neighbours and in the classifier's predictions.

    Args:
        neighbour_shares, predictions: float (n, classes).
        labels: integer (n,).

    Returns:
        float (n,), below 1 if another class is preferred; integer (n,).
    """
    by_neighbours, other = ratio(neighbour_shares, labels)
    return np.sqrt(by_neighbours * ratio(predictions, labels)[0]), other


def predictions(points, labels, train, rest, classes):
    """Return predictions of a logistic regression, float64 (n, classes).

    A row of train is predicted by a fit on the other folds, any other row by
    a fit on all of train; a row in neither gets zeros.

    Args:
        points: float32 (n, q), of length 1.
        labels: integer (n,).
        train, rest: row numbers.
        classes: number of classes.
    """
    x = points * np.sqrt(points.shape[1], dtype=np.float32)    # deviation 1
    found = np.zeros((len(labels), classes))
    folds = [(train, rest)]
    if len(train) >= FOLDS:
        folds += [(train[fit], train[held_out]) for fit, held_out in KFold(
            FOLDS, shuffle=True, random_state=0).split(train)]
    for fit, held_out in folds:
        seen = np.unique(labels[fit])
        if len(seen) == 1:
            found[held_out, seen[0]] = 1
        elif len(held_out):
            model = LogisticRegression(C=STRENGTH, max_iter=1000)
            model.fit(x[fit], labels[fit])
            found[held_out[:, None], seen] = model.predict_proba(x[held_out])
    return found


def ratio(shares, labels):
    """Return the share of each label over that of the first other class.

    Args:
        shares: float (n, classes).
        labels: integer (n,).

    Returns:
        float (n,), and that other class, integer (n,).
    """
    found, other = np.empty(len(labels)), np.empty(len(labels), np.int64)
    for first in range(0, len(labels), ROWS):
        part = shares[first:first + ROWS].copy()
        rows = np.arange(len(part))
        own = part[rows, labels[first:first + ROWS]]
        part[rows, labels[first:first + ROWS]] = -1
        best = part.argmax(1)
        found[first:first + ROWS] = (own + FLOOR) / (part[rows, best] + FLOOR)
        other[first:first + ROWS] = best
    return found, other
