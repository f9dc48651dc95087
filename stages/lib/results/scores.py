#!/usr/bin/env python3
"""Scores of the predictions on a split."""
import numpy as np
from sklearn.metrics import log_loss

from stages.lib.results import calibration


def scores(probabilities, labels):
    """Return the scores of one split, a dictionary.

    Args:
        probabilities: float (n, classes), rows sum to 1.
        labels: integer (n,).

    Returns:
        accuracy with the bounds of its 95 % Wilson interval, loss
        (cross-entropy, nats), calibration_error, and what it is by chance:
        all in 0..1 but the loss.  See `calibration`.
    """
    correct = probabilities.argmax(axis=1) == labels
    low, high = calibration.interval(correct.sum(), len(correct))
    return {"accuracy": float(correct.mean()),
            "accuracy_low": low, "accuracy_high": high,
            "loss": float(log_loss(labels, probabilities,
                                   labels=range(probabilities.shape[1]))),
            "calibration_error": calibration.error(probabilities, correct),
            "calibration_error_by_chance":
                calibration.error_by_chance(probabilities)}


def confused_pairs(labels, predicted):
    """Return the pairs of classes that are mistaken for each other.

    Args:
        labels, predicted: integer (n,).

    Returns:
        Classes, integer (k, 2), the lower one first; how often either is
        mistaken for the other, integer (k,).  Most frequent pairs first.
    """
    wrong = labels != predicted
    pairs, times = np.unique(
        np.sort(np.stack([labels[wrong], predicted[wrong]], 1), 1), axis=0,
        return_counts=True)
    order = np.argsort(-times, kind="stable")
    return pairs[order], times[order]


def margins(probabilities, labels):
    """Return how much surer a prediction is than the label, float64 (n,).

    The logarithm of the ratio of both probabilities, 0 for a right
    prediction.  It differs where confidences round to 1, and temperature
    scaling does not change its order.

    Args:
        probabilities: float (n, classes).
        labels: integer (n,).
    """
    p = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    return p.max(axis=1) - p[np.arange(len(labels)), labels]
