#!/usr/bin/env python3
"""How far labels are believed: by neighbours, and by a linear classifier.

The classifier judges no row on which it was fitted, as in Northcutt et al.,
"Confident Learning" (2021).  Both together find more wrong labels than either
alone (docs/experiments.md).
"""
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

FOLDS = 5
STRENGTH = 0.01    # scikit-learn's C
FLOOR = 1e-3       # least share, so that ratios are finite


def probabilities(points, labels, train, rest, classes):
    """Return a logistic regression's say, float64 (n, classes).

    A row of train is judged by a fit on the other folds, any other row by a
    fit on all of train; a row that is in neither has zeros.

    Args:
        points: float32 (n, q), of length 1.
        labels: integer (n,).
        train, rest: row numbers.
        classes: how many there are.
    """
    x = points * np.sqrt(points.shape[1], dtype=np.float32)    # deviation 1
    found = np.zeros((len(labels), classes))
    folds = [(train, rest)]
    if len(train) >= FOLDS:
        folds += [(train[fit], train[judged]) for fit, judged in KFold(
            FOLDS, shuffle=True, random_state=0).split(train)]
    for fit, judged in folds:
        seen = np.unique(labels[fit])
        if len(seen) == 1:
            found[judged, seen[0]] = 1
        elif len(judged):
            model = LogisticRegression(C=STRENGTH, max_iter=1000)
            model.fit(x[fit], labels[fit])
            found[judged[:, None], seen] = model.predict_proba(x[judged])
    return found


def ratio(shares, labels):
    """Return how far the shares believe each label, and in what instead.

    Args:
        shares: float (n, classes).
        labels: integer (n,).

    Returns:
        own share / greatest other share, float (n,), and that other class.
    """
    rows = np.arange(len(labels))
    own = shares[rows, labels]
    others = shares.copy()
    others[rows, labels] = -1
    other = others.argmax(1)
    return (own + FLOOR) / (others[rows, other] + FLOOR), other
