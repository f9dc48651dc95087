#!/usr/bin/env python3
"""Planted label errors: is the doctor's expected share of false ones true?

Usage: benchmarks/label_errors.py PROJECT [SEEDS [SUBCLASSES [KIND]]]

PROJECT: a folder with a finished run of the pipeline; it is only read.  SEEDS
(5): draws of the labels that are changed, at each of three rates.  SUBCLASSES
(1): each class is divided into so many clusters, as a data set of many
confusable classes.  KIND: random (any other class), or alike (the class that
neighbours prefer to the label, the hardest errors).

Prints a table, means over the draws with 95 % intervals (normal).  Measured
false: the share of suspects that were not planted, in draws with suspects;
some of these are errors of the data set itself.  FDR: the same over all draws,
0 in those without.  Compared with the fixed score 0.05, the earlier default,
and with the off-diagonal of the confident joint of Northcutt et al.,
"Confident Learning" (2021), from the classifier's predictions.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from sklearn.cluster import MiniBatchKMeans  # noqa: E402
from stages.lib.inspection import (  # noqa: E402
    cached_features, label_errors, metric, voting)

RATES = (0, 0.001, 0.01, 0.05)
SHARES = (0.1, 0.2)    # --false-suspects
COUNT = 100            # --neighbours
FIXED = 0.05


def divided(cached, points, parts):
    """Return `cached` with each class divided into `parts` clusters."""
    if parts == 1:
        return cached
    labels = np.empty_like(cached.labels)
    for label in range(len(cached.names)):
        rows = np.flatnonzero(cached.labels == label)
        labels[rows] = label * parts + MiniBatchKMeans(
            parts, random_state=0, n_init=1).fit_predict(points.points[rows])
    names = [f"{name} {k}" for name in cached.names for k in range(parts)]
    return cached._replace(labels=labels, manifest={
        **cached.manifest, "class_names": names})


def planted(labels, shares, rate, kind, random):
    """Return labels of which the share `rate` is changed, and these rows."""
    rows = random.choice(len(labels), round(rate * len(labels)), replace=False)
    changed, classes = labels.copy(), shares.shape[1]
    if kind == "alike":
        other = shares[rows]
        other[np.arange(len(rows)), labels[rows]] = -1
        changed[rows] = other.argmax(1)
    else:
        changed[rows] += random.integers(1, classes, len(rows))
        changed[rows] %= classes
    return changed, rows


def confident(cached, points, voted):
    """Return the rows that confident learning suspects."""
    p = label_errors.predictions(points.points, cached.labels, voted.train,
                                 voted.rest, len(cached.names))
    own = p[np.arange(len(p)), cached.labels]
    sums = np.bincount(cached.labels, own, len(cached.names))
    mean = sums / np.maximum(1, np.bincount(cached.labels,
                                            minlength=len(cached.names)))
    sure = np.where(p >= mean, p, 0)
    return np.flatnonzero((sure.max(1) > 0)
                          & (sure.argmax(1) != cached.labels))


def measured(cached, points, voted, rows):
    """Yield (method, stated false share, suspects, planted among them)."""
    found = label_errors.suspects(cached, points, voted, 0)
    for share in SHARES:
        count = label_errors.label_noise.suspected(found.false, share)
        yield (f"at most {share:.0%} false",
               found.false[:count].mean() if count else np.nan,
               count, np.isin(found.rows[:count], rows).sum())
    old = found.rows[found.scores <= FIXED]
    yield f"score {FIXED}", np.nan, len(old), np.isin(old, rows).sum()
    other = confident(cached, points, voted)
    yield "confident", np.nan, len(other), np.isin(other, rows).sum()


def interval(values):
    """Return the mean of `values`, NaN left out, and its 95 % interval."""
    values = np.array(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    half = 1.96 * values.std(ddof=1) / len(values)**0.5 if (
        len(values) > 1) else np.nan
    return f"{values.mean():.3f} ± {half:.3f}"


def line(method, rate, planted_rows, results):
    """Return a line of the table."""
    stated, found, right = np.array(results, float).T
    false = np.where(found > 0, 1 - right / np.maximum(found, 1), np.nan)
    recall = right / planted_rows if planted_rows else [np.nan]
    return " | ".join(["", f"{rate:.1%}", method, f"{found.mean():,.1f}",
                       f"{right.mean():,.1f} of {planted_rows:,}",
                       interval(stated), interval(false), interval(recall),
                       f"{np.nan_to_num(false).mean():.3f}", ""]).strip()


def main():
    """Plant errors, print the table."""
    project, *rest = sys.argv[1:]
    seeds, parts = (int(rest[k]) if len(rest) > k else default
                    for k, default in enumerate((5, 1)))
    kind = rest[2] if len(rest) > 2 else "random"
    os.chdir(project)
    cached = cached_features.load()
    points = metric.space(cached.vectors, cached.in_split("train"))
    cached = divided(cached, points, parts)
    voted = voting.voted(cached, points, COUNT)
    print(f"{len(cached.labels):,} images, {len(cached.names)} classes, "
          f"{seeds} draws, {kind}; neighbours right: "
          f"{(voted.shares.argmax(1) == cached.labels).mean():.3f}")
    print("| rate | method | suspects | planted among them | stated false | "
          "measured false | recall | FDR |\n" + "|---" * 8 + "|")
    for rate in RATES:
        results = {}
        for seed in range(seeds if rate else 1):
            labels, rows = planted(cached.labels, voted.shares, rate, kind,
                                   np.random.default_rng(seed))
            changed = cached._replace(labels=labels)
            for method, *one in measured(
                    changed, points,
                    voting.voted(changed, points, COUNT), rows):
                results.setdefault(method, []).append(one)
        for method, found in results.items():
            print(line(method, rate, len(rows), found), flush=True)


if __name__ == "__main__":
    main()
