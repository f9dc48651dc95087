#!/usr/bin/env python3
"""Scores of the predictions on a split."""
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import log_loss

BINS = 15    # of confidence, as in Guo et al. (2017)


def scores(probabilities, labels):
    """Return the scores of one split, a dictionary.

    Args:
        probabilities: float (n, classes), rows sum to 1.
        labels: integer (n,).

    Returns:
        accuracy with the bounds of its 95 % Wilson interval, loss
        (cross-entropy, nats), calibration_error: all in 0..1 but the loss.
    """
    correct = probabilities.argmax(axis=1) == labels
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(
        0.95, method="wilson")
    return {"accuracy": float(correct.mean()),
            "accuracy_low": float(interval.low),
            "accuracy_high": float(interval.high),
            "loss": float(log_loss(labels, probabilities,
                                   labels=range(probabilities.shape[1]))),
            "calibration_error": calibration_error(probabilities, correct)}


def calibration_error(probabilities, correct):
    """Return the expected calibration error, 0..1.

    The mean over images of |accuracy - confidence| of the image's bin of
    confidence (Guo et al., On Calibration of Modern Neural Networks, 2017).
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(correct))


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
