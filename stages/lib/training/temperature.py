#!/usr/bin/env python3
"""The temperature of a head, so that its confidence is its accuracy.

A head that fits its train images is too sure of others.  The logits of all
images are divided by one number, the temperature, that is fitted on
validation (Guo et al., On Calibration of Modern Neural Networks, 2017).  The
order of the classes, and so the accuracy, stays the same.
"""
import h5py
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from stages.lib.common import files

ATTRIBUTE = "temperature"    # of models/head.h5
LEAST = float(np.finfo("float32").tiny)    # probability; smaller ones are 0
SPREAD = 0.5    # of log(temperature) in the prior: see `fit`
BOUNDS = np.log(0.05), np.log(20)    # of the search; the prior stops earlier
DIGITS = 4    # that rounding, on any number of threads, leaves alone


def fit(probabilities, labels):
    """Return the temperature that fits a head to a split, a float above 0.

    It minimises the cross-entropy, plus a penalty for being far from 1, as of
    a log-normal prior with a standard deviation of `SPREAD`.  The penalty
    matters where images are few, or all of them are right: the cross-entropy
    alone then has no minimum.  `benchmarks/calibration.py` compares values of
    `SPREAD`.

    Args:
        probabilities: of the split, float64 (n, classes).
        labels: integer (n,).
    """
    logits, rows = _logits(probabilities), np.arange(len(labels))

    def loss(log):
        """Return the cross-entropy over all images, in nats, and penalty."""
        found = log_softmax(logits / np.exp(log), axis=1)[rows, labels]
        return (log / SPREAD)**2 / 2 - found.sum()

    log = minimize_scalar(loss, bounds=BOUNDS, method="bounded",
                          options={"xatol": 1e-6}).x
    return float(f"{np.exp(log):.{DIGITS}g}")


def without(probabilities, temperature):
    """Return the probabilities before their temperature, float64.

    Args:
        probabilities: float64 (n, classes), at `temperature`.
    """
    return softmax(_logits(probabilities) * temperature, axis=1)


def read(path=files.HEAD):
    """Return the temperature in the Keras file `path`.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with h5py.File(path) as file:
            return float(file.attrs[ATTRIBUTE])
    except (OSError, KeyError, ValueError) as error:
        raise files.no_model(path, error) from error


def _logits(probabilities):
    """Return logits, up to a number for each image."""
    return np.log(probabilities.clip(min=LEAST))
