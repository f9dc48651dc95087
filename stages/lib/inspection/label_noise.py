#!/usr/bin/env python3
"""How many suspected label errors are false: an estimate from the data.

Every row has a label score for each class (`label_errors`).  Where the score
is low, a class is hardly ever the label, if labels are right; but a label
drawn at random is a class of a low score as often as any other class.  So
among all pairs (row, class), the share of labels falls with the score, down to
a floor that shows how many labels are random:

    share = floor + (1 - floor) / (1 + exp(-(a + b t)))
    t = log score * (1 - bend / 2 * log score / log least score)

The curve above the floor is that of Platt, "Probabilistic Outputs for Support
Vector Machines" (1999); by the share `bend`, it may be flatter at the least
scores, as it is with many classes, some of them alike.  The part of the curve
in the share is the probability that a label of this score is right all the
same: the local false discovery rate of Efron, "Microarrays, Empirical Bayes
and the Two-Groups Model" (2008).  How well it holds with planted errors is in
docs/experiments.md.
"""
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, xlog1py, xlogy

LEAST = np.log(1e-3)     # log score of the first bin
BINS = 400
FLOORS = 100             # tried
MOST = 0.9               # greatest share of random labels
START = (-0.3, 2.0, 0.0)    # a, b and bend
TIE = (-0.3, 0.3)        # a as a rule, and its deviation: in few data, where
#                          nothing else shows what a tie of two classes means
BOUNDS = ((-20, 20), (0.05, 20), (0, 0.9))


class Noise(NamedTuple):
    """The estimate for one data set.

    random: share of the labels that are random, the most likely one.
    floor: share of labels at the lowest scores, one standard error less than
        the most likely one, so that few data promise nothing.
    curve: a, b and bend, given `floor`.
    """

    random: float
    floor: float
    curve: tuple


def count(scores, labels):
    """Return how many pairs, and labels, have a score in each bin.

    Args:
        scores: float (n, classes), above 0; those from 1 on are not counted:
            no other class is preferred.
        labels: integer (n,).

    Returns:
        integer (2, `BINS`).
    """
    every = np.log(scores)
    own = every[np.arange(len(labels)), labels]
    return np.stack([np.histogram(
        np.maximum(values[values < 0], LEAST), BINS, (LEAST, 0))[0]
        for values in (every, own)])


def fitted(counts, classes):
    """Return the `Noise` of a data set.

    Of all floors whose likelihood is not significantly less than the greatest
    (within one standard error), the least counts.

    Args:
        counts: sum of what `count` returns.
        classes: number of classes.
    """
    edges = np.linspace(LEAST, 0, BINS + 1)
    some = counts[0] > 0
    if not counts[1].any():
        return Noise(0.0, 0.0, START)
    data = (edges[:-1] + edges[1:])[some] / 2, *counts[:, some]
    floors = [0.0, *np.geomspace(0.1 / counts[0].sum(), MOST / classes,
                                 FLOORS)]
    loss, curves = [], [START]
    for floor in floors:
        found = minimize(_loss, curves[-1], (floor, *data), method="L-BFGS-B",
                         bounds=BOUNDS)
        loss.append(found.fun)
        curves.append(found.x)
    best = int(np.argmin(loss))
    likely = int(np.argmax(2 * (np.array(loss) - loss[best]) <= 1))
    return Noise(float(floors[best] * (classes - 1)), float(floors[likely]),
                 tuple(curves[likely + 1]))


def false_probability(noise, scores):
    """Return the probability that a label is right in spite of its score.

    Args:
        noise: a `Noise`.
        scores: float (n,), above 0.
    """
    right = (1 - noise.floor) * _curve(noise.curve, np.log(scores))
    return right / np.maximum(noise.floor + right, 1e-300)


def suspected(false, share):
    """Return how many of the first rows have at most this share of false ones.

    Args:
        false: float (n,), probabilities, ascending.
        share: greatest expected share, 0..1.
    """
    mean = np.cumsum(false) / np.arange(1, len(false) + 1)
    return int(np.searchsorted(mean, share, "right"))


def _loss(curve, floor, centre, pairs, labels):
    """Return the negative log-likelihood of all bins, and of `TIE`."""
    share = floor + (1 - floor) * _curve(curve, centre)
    return (((curve[0] - TIE[0]) / TIE[1])**2 / 2 - (
        xlogy(labels, share) + xlog1py(pairs - labels, -share)).sum())


def _curve(curve, log_score):
    """Return the share of labels without random ones, see the module."""
    a, b, bend = curve
    return expit(a + b * log_score * (1 - bend / 2 * log_score / LEAST))
