#!/usr/bin/env python3
"""Planted label errors: the doctor's ranking, and those of cleanlab.

Usage: benchmarks/label_rankings.py PROJECT PYTHON [DRAWS [FIRST [KIND]]]

PROJECT: a folder with a finished run of the pipeline; it is only read.
PYTHON: an interpreter whose environment has cleanlab, which this project does
not have.  DRAWS (8): of 20 changed labels, from each of the row numbers of
FIRST (5000, separated by commas) on 5,000 rows of train, which are a data set
of their own.  KIND: as in benchmarks/label_errors.py.

Prints, for each ranking, how many of the 20 are among its first 60: for each
FIRST the mean over draws, then over all draws mean, least, and the difference
from the doctor's ranking with its 95 % interval (paired, normal).
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "benchmarks")]
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from scipy.stats import rankdata  # noqa: E402
import label_errors as planting  # noqa: E402
from stages.lib.inspection import (  # noqa: E402
    cached_features, label_errors, metric, voting)

ROWS, PLANTED, FIRST = 5000, 20, 60
METHODS = ("self_confidence", "normalized_margin",
           "confidence_weighted_entropy")
CLEANLAB = """
import sys
import numpy as np
from cleanlab.rank import (
    get_label_quality_ensemble_scores, get_label_quality_scores)
given, found = np.load(sys.argv[1]), {}
def keep(name, function, *arguments, **options):
    found[name] = np.stack([function(labels, *one, **options) for labels, *one
                            in zip(given["labels"], *arguments)])
for kind in ("predicted", "shares"):
    for method in sys.argv[3:]:
        keep(f"cleanlab {method}, {kind}", get_label_quality_scores,
             given[kind], method=method)
keep("cleanlab ensemble of both", get_label_quality_ensemble_scores,
     [list(pair) for pair in zip(given["predicted"], given["shares"])],
     verbose=False)
np.savez(sys.argv[2], **found)
"""


def subset(cached, first):
    """Return `ROWS` rows of train as `CachedFeatures` of their own."""
    rows = np.flatnonzero(cached.in_split("train"))[first:first + ROWS]
    return cached._replace(
        vectors=cached.vectors[rows], labels=cached.labels[rows],
        split=cached.split[rows], row=np.arange(len(rows)),
        images=cached.images[rows])


def draws(cached, count, kind):
    """Yield labels, planted rows, predictions and neighbours' shares."""
    points = metric.space(cached.vectors, cached.in_split("train"))
    voted = voting.voted(cached, points, planting.COUNT)
    classes = len(cached.names)
    for seed in range(count):
        labels, rows = planting.planted(
            cached.labels, voted.shares, PLANTED / len(cached.labels), kind,
            np.random.default_rng(seed))
        again = voting.voted(cached._replace(labels=labels), points,
                             planting.COUNT)
        yield labels, rows, label_errors.predictions(
            points.points, labels, voted.train, voted.rest,
            classes), again.shares


def ours(labels, predicted, shares):
    """Return scores of the doctor, of its parts, and of other ways, by name.

    A small score is suspect.
    """
    def own(p):
        """Return the values of the labels."""
        return p[np.arange(len(labels)), labels]

    one, two = label_errors.ratios(shares), label_errors.ratios(predicted)
    return {"doctor": own(one * two), "neighbours' ratio": own(one),
            "regression's ratio": own(two),
            "product of probabilities": own(
                (predicted + 1e-3) * (shares + 1e-3)),
            "mean of probabilities": own(predicted + shares)}


def both(scores):
    """Add what the doctor and cleanlab's scores give together."""
    confidence = [f"cleanlab self_confidence, {kind}"
                  for kind in ("predicted", "shares")]
    for name, wanted in [
            ("doctor and cleanlab, predicted", confidence[:1]),
            ("doctor and cleanlab, both", confidence)]:
        scores[f"{name}: mean rank"] = sum(
            rankdata(scores[one]) for one in ["doctor", *wanted])
        scores[f"{name}: geometric mean"] = np.log(
            scores["doctor"]) / 2 + sum(
            np.log(scores[one] + 1e-3) for one in wanted) / len(wanted)
    return scores


def cleanlab(python, labels, predicted, shares):
    """Return name -> scores of cleanlab, float (draws, rows)."""
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, f"{k}.npz") for k in range(2)]
        np.savez(names[0], labels=labels, predicted=predicted, shares=shares)
        subprocess.run([python, "-c", CLEANLAB, *names, *METHODS], check=True)
        with np.load(names[1]) as file:
            return dict(file)


def main():
    """Plant errors, print the table."""
    project, python, *rest = sys.argv[1:]
    count = int(rest[0]) if rest else 8
    starts = [int(one) for one in (
        rest[1] if len(rest) > 1 else "5000").split(",")]
    kind = rest[2] if len(rest) > 2 else "random"
    os.chdir(project)
    cached = cached_features.load()
    labels, rows, predicted, shares = (np.array(one) for one in zip(*(
        draw for first in starts
        for draw in draws(subset(cached, first), count, kind))))
    theirs = cleanlab(python, labels, predicted, shares)
    found = {}
    for k in range(len(labels)):
        scores = both({**ours(labels[k], predicted[k], shares[k]),
                       **{name: one[k] for name, one in theirs.items()}})
        for name, score in scores.items():
            first = np.argsort(score, kind="stable")[:FIRST]
            found.setdefault(name, []).append(np.isin(first, rows[k]).sum())
    print("| ranking |" + "".join(f" from {first:,} |" for first in starts)
          + " mean | least | difference |\n" + "|---" * (4 + len(starts))
          + "|")
    for name, counts in found.items():
        counts = np.array(counts)
        parts = counts.reshape(len(starts), -1).mean(1)
        print(f"| {name} |" + "".join(f" {one:.1f} |" for one in parts)
              + f" {counts.mean():.2f} | {counts.min()} | "
              f"{planting.interval(counts - found['doctor'])} |")


if __name__ == "__main__":
    main()
