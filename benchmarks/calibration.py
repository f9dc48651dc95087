#!/usr/bin/env python3
"""Calibration before and after the temperature, on features of a project.

Usage: python benchmarks/calibration.py PROJECT [--seeds 3] [--redraw-test]
           [--parts 1] [--images N [N ...]]

PROJECT is the folder of a finished run; its head is trained again on each
seed, with train and validation divided again.  `--parts` divides each class
into that many by k-means over half of the features; the head sees the other
half.  `--images` fits on that many of validation, drawn 50 times, with other
spreads of the prior, too.
"""
import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from stages.lib.common import keras_runtime  # noqa: E402
from stages.lib.params import params  # noqa: E402
from stages.lib.results import calibration, scores  # noqa: E402
from stages.lib.training import (  # noqa: E402
    gradient_training, head, temperature)

SPREADS = (0.15, 0.25, 0.5, 1.0, 1e3)    # the last is no prior
DRAWS = 50


def splits():
    """Return three pairs of features, float32 (n, d), and labels (n,)."""
    return [(np.load(f"features/{split}_x.npy").astype("float32"),
             np.load(f"data/prepared/{split}_y.npy").astype(int).ravel())
            for split in ("train", "validation", "test")]


def divided(found, parts):
    """Return the splits with each class divided into `parts`."""
    if parts == 1:
        return found
    (x, y), labels = found[0], [np.empty_like(y) for _, y in found]
    for k in np.unique(y):
        means = KMeans(parts, n_init=1, random_state=0).fit(x[y == k, ::2])
        for out, (other, actual) in zip(labels, found):
            inside = actual == k
            out[inside] = k * parts + means.predict(other[inside, ::2])
    return [(x[:, 1::2], y) for (x, _), y in zip(found, labels)]


def redrawn(found, seed, test):
    """Return the splits, divided again by `seed`, with `test` or without."""
    count = 3 if test else 2
    x, y = (np.concatenate(arrays) for arrays in zip(*found[:count]))
    rows = np.split(np.random.default_rng(seed).permutation(len(y)), np.cumsum(
        [len(labels) for _, labels in found[:count - 1]]))
    return [(x[k], y[k]) for k in rows] + found[count:]


def predictions(given, found, seed):
    """Return the probabilities of validation and test at temperature 1, and
    those of test of the calibrated head; and its temperature.
    """
    classes = 1 + max(labels.max() for _, labels in found)
    (x, y), (xv, yv), (xt, _) = [
        (x, np.eye(classes, dtype="float32")[y]) for x, y in found]
    keras_runtime.reset(seed)
    model = head.build(given, x, classes)
    gradient_training.fit(model, given, ([x], y), (xv, yv), {"callbacks": []})
    plain = keras_runtime.keras.Model(model.input, model.output)
    before = [head.probabilities(plain, x) for x in (xv, xt)]
    fitted = head.calibrate(model, xv, yv.argmax(axis=1))
    return (*before, head.probabilities(plain, xt), fitted)


def few(before, yv, test, yt, counts):
    """Print the loss on test for temperatures fitted on few images."""
    for count in counts:
        random, rows = np.random.default_rng(0), []
        for _ in range(DRAWS):
            k, row = random.choice(len(yv), count, replace=False), []
            for temperature.SPREAD in SPREADS:
                p = temperature.without(
                    test, 1 / temperature.fit(before[k], yv[k]))
                row.append((loss(p, yt), calibration.error(
                    p, p.argmax(axis=1) == yt)))
            rows.append(row)
        print(f"  on {count} images, loss and calibration error by spread: "
              + ", ".join(f"{spread:g}: {a:.3f} {b:.3f}" for spread, (
                  a, b) in zip(SPREADS, np.mean(rows, axis=0))), flush=True)
    temperature.SPREAD = 0.5


def loss(p, y):
    """Return the cross-entropy, nats."""
    return -np.log(np.maximum(p[np.arange(len(y)), y],
                              temperature.LEAST)).mean()


def bootstrap(p, y):
    """Return the 2.5 % and 97.5 % quantile of the calibration error."""
    random = np.random.default_rng(0)
    drawn = (random.integers(len(y), size=len(y)) for _ in range(300))
    return np.quantile([calibration.error(p[k], p[k].argmax(axis=1) == y[k])
                        for k in drawn], [0.025, 0.975])


def report(name, p, y):
    """Print the scores of `p`."""
    found = scores.scores(p, y)
    low, high = bootstrap(p, y)
    gap = p.max(axis=1).mean() - found["accuracy"]
    print(f"  {name}: accuracy {found['accuracy']:.4f}, "
          f"loss {found['loss']:.4f}, confidence - accuracy {gap:+.4f}, "
          f"calibration error {found['calibration_error']:.4f} "
          f"[{low:.4f}, {high:.4f}], by chance up to "
          f"{found['calibration_error_by_chance']:.4f}", flush=True)


def main():
    """Print a report for each seed, then for all test images together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("project")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--redraw-test", action="store_true")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--images", type=int, nargs="+", default=[])
    words = parser.parse_args()
    os.chdir(words.project)
    given, found = params.read().train, divided(splits(), words.parts)
    together = []
    for seed in range(words.seeds):
        drawn = redrawn(found, seed, words.redraw_test)
        before, test, after, fitted = predictions(given, drawn, seed)
        labels = drawn[2][1]
        changed = (test.argmax(axis=1) != after.argmax(axis=1)).sum()
        print(f"seed {seed}: temperature {fitted:g}, {changed} of "
              f"{len(labels):,} predicted classes changed")
        report("before", test, labels)
        report("after ", after, labels)
        few(before, drawn[1][1], test, labels, words.images)
        together.append((test, after, labels))
    print(f"all {words.seeds} seeds")
    for name, p in zip(("before", "after "), range(2)):
        report(name, *(np.concatenate([one[k] for one in together])
                       for k in (p, 2)))


if __name__ == "__main__":
    main()
