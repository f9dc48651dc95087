#!/usr/bin/env python3
"""Examine the cached features: statistics, a page, a difference.

Usage: python -m commands.inspect_features [options], see --help.

In:  features/, data/prepared/, and for pictures data/resized/
     models/head.h5           its predictions, for page and Parquet
Out: results/inspect/*/*.csv  plots for `dvc plots show`
     and what the options name

Exit status: 0, or 1 if a kind of finding that --fail-on names is found, 2 if
an option is invalid.
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import json

import numpy as np

from stages.lib.common import errors, files, stage
from stages.lib.inspection import (
    cached_features, difference, doctor, head_predictions, options, page,
    parquet, projection, projector, report, revision)
from stages.lib.results import confusion


def write(features, examined, given):
    """Write page, Parquet, plots, projector files: what the options ask for.
    """
    chosen = projection.sample(
        np.flatnonzero(examined.space.usable), given.points,
        page.required_rows(features, examined), given.seed)
    if given.projector:
        projector.write(given.projector, features, examined, chosen)
    if not (given.html or given.parquet or given.plots):
        return
    flat = projection.project(examined.space.scaled(chosen),
                              given.projection, given.seed)
    if given.html:
        page.write(given.html, features, examined, chosen, flat,
                   head_predictions.predictions(features, chosen)[0])
    if given.parquet:
        parquet.write(given.parquet, features, examined,
                      projection.placed(examined.space, chosen, flat), given)
    if given.plots:
        names = features.names
        files.write_csv(
            f"{options.PLOTS}/projection/points.csv", ["x", "y", "class"], (
                [f"{x:.4g}", f"{y:.4g}", names[label]] for (x, y), label
                in zip(flat, features.labels[chosen])))
        rows = np.flatnonzero(
            features.in_split("test") & examined.space.usable)
        confusion.write(
            f"{options.PLOTS}/neighbours/votes.csv", features.labels[rows],
            examined.shares[rows].argmax(1), names)


def check(findings, unwanted):
    """Raise a FindingError if there is any finding of a kind in `unwanted`."""
    counts = {
        "nan": sum(one["rows_not_finite"] for one in findings["arrays"]),
        "dead": sum(len(one["dead"]) for one in findings["arrays"])}
    found = [f"{name} {counts.get(name, len(findings.get(name, ()))):,}"
             for name in unwanted
             if counts.get(name, len(findings.get(name, ())))]
    if found:
        raise errors.FindingError(
            f"found what --fail-on names: {', '.join(found)}")


def main():
    """Examine the features; print and write what the options ask for."""
    given = options.read()
    old = revision.load(given.rev) if given.rev else None
    features = cached_features.load()
    examined = doctor.examine(features, given)
    findings = examined.findings
    if old:
        findings["difference"] = difference.difference(
            old, features, given.neighbours)
    write(features, examined, given)
    if given.json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(report.lines(findings, given.top)))
        if old:
            print("\n".join(["", *difference.lines(
                findings["difference"], given.rev, given.top)]))
    check(examined.findings, given.fail_on)


if __name__ == "__main__":
    stage.run(main)
