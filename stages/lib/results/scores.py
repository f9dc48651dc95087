#!/usr/bin/env python3
"""What is said of a training, and of the predictions on one split."""
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import log_loss

BINS = 15    # of confidence, as in Guo et al. (2017)


def scores(probabilities, labels):
    """Return what is said of one split.

    Args:
        probabilities: float (n, classes), rows sum to 1.
        labels: integer (n,).

    Returns:
        accuracy with the bounds of its 95 % Wilson interval, loss
        (cross-entropy, nats), calibration_error: all in 0..1 but the loss.
    """
    right = probabilities.argmax(axis=1) == labels
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(
        0.95, method="wilson")
    return {"accuracy": float(right.mean()),
            "accuracy_low": float(interval.low),
            "accuracy_high": float(interval.high),
            "loss": float(log_loss(labels, probabilities,
                                   labels=range(probabilities.shape[1]))),
            "calibration_error": calibration_error(probabilities, right)}


def calibration_error(probabilities, right):
    """Return the expected calibration error, 0..1.

    The mean over images of |accuracy - confidence| of the image's bin of
    confidence (Guo et al., On Calibration of Modern Neural Networks, 2017).
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))
