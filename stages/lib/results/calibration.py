#!/usr/bin/env python3
"""Calibration: whether a model is right as often as it is confident."""
import numpy as np
from scipy.stats import binomtest

BINS = 15    # of confidence, as in Guo et al. (2017)
DRAWS = 200    # simulated test splits


def interval(right, images):
    """Return the bounds of the 95 % Wilson interval of a share, floats."""
    found = binomtest(int(right), int(images)).proportion_ci(
        0.95, method="wilson")
    return float(found.low), float(found.high)


def error(probabilities, correct):
    """Return the expected calibration error, 0..1.

    The mean over images of |accuracy - confidence| of the image's bin of
    confidence (Guo et al., On Calibration of Modern Neural Networks, 2017).

    Args:
        probabilities: float (n, classes), rows sum to 1.
        correct: whether the class of highest probability is right, bool (n,).
    """
    confidence = probabilities.max(axis=1)
    return _error(_bins(confidence), confidence, correct)


def error_by_chance(probabilities):
    """Return the error below which 95 % of perfect models would be, 0..1.

    A perfect model has these confidences and is right exactly so often; on a
    split of few images, chance alone gives it an error.  An error below this
    one is no sign of bad calibration.

    Args:
        probabilities: float (n, classes), rows sum to 1.
    """
    confidence = probabilities.max(axis=1)
    bins, random = _bins(confidence), np.random.default_rng(0)
    return float(np.quantile([
        _error(bins, confidence, random.random(len(bins)) < confidence)
        for _ in range(DRAWS)], 0.95))


def reliability(probabilities, labels):
    """Return the accuracy by confidence, one dictionary a bin with images.

    Args:
        probabilities: float (n, classes), rows sum to 1.
        labels: integer (n,).

    Returns:
        Dictionaries of confidence (the bin's mean), accuracy with the bounds
        of its 95 % Wilson interval, and images, their number.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins, rows = _bins(confidence), []
    for k in np.unique(bins):
        inside = bins == k
        low, high = interval(correct[inside].sum(), inside.sum())
        rows.append({"confidence": float(confidence[inside].mean()),
                     "accuracy": float(correct[inside].mean()),
                     "accuracy_low": low, "accuracy_high": high,
                     "images": int(inside.sum())})
    return rows


def _bins(confidence):
    """Return the bin of each image, integer (n,), 0..BINS - 1."""
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def _error(bins, confidence, correct):
    """Return the expected calibration error of images in `bins`."""
    gaps = np.bincount(bins, weights=correct - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(correct))
