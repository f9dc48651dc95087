#!/usr/bin/env python3
"""Look into the cached features: a doctor, a page, a difference.

Usage: python -m stages.inspect [options], see --help; never part of
`dvc repro`.

In:  features/, data/prepared/, and for pictures data/resized/
     models/head.h5           its predictions, for the page
Out: results/inspect/*.csv    plots for `dvc plots show`
     and what the options name

Ends with status 1 if something is found that --fail-on names.
"""
import argparse
import importlib
import json
import os

import numpy as np

from stages.lib import files, manifest
from stages.lib.errors import FindingError, ParameterError
from stages.lib.inspection import (cached, difference, doctor, page,
                                   projection, projector, report, revision)
from stages.lib.stage import run

HEAD = "models/head.h5"
PLOTS = "results/inspect"

KINDS = ("nan", "dead", "leaks", "duplicates", "near_leaks",
         "near_duplicates", "suspects")


class Parser(argparse.ArgumentParser):
    """A parser whose refusal is one line."""

    def error(self, message):
        """Raise a ParameterError instead of printing the usage."""
        raise ParameterError(f"{message}; see --help")


def number(kind, low, high):
    """Return a function from text to a number of `kind` in low..high."""
    def parse(text):
        """Return the number in `text`."""
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not in {low}..{high}")
        return value
    parse.__name__ = kind.__name__
    return parse


def options():
    """Return what the command line demands."""
    parser = Parser(prog="python -m stages.inspect",
                    description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--json", action="store_true", help="findings as JSON, complete")
    add("--top", type=number(int, 1, 10**6), default=10,
        help="lines a list (%(default)s)")
    add("--fail-on", type=kinds, default=[], metavar="KIND,…",
        help=f"end with status 1 if there are any: {', '.join(KINDS)}")
    add("--neighbours", type=number(int, 1, 10**4), default=100,
        help="train images that vote on a class (%(default)s)")
    add("--near", type=number(float, 0, 2), default=0.1,
        help="greatest cosine distance of standardised features between near "
        "duplicates (%(default)s)")
    add("--suspect", type=number(float, 0, 1), default=0.05,
        help="greatest belief in a suspect's label: the share of its votes "
        "over that of the first other class (%(default)s)")
    add("--html", metavar="OUT", help="write a page to explore")
    add("--projector", metavar="DIR",
        help="write files for TensorBoard's projector")
    add("--plots", action="store_true",
        help=f"write {PLOTS}/*.csv for `dvc plots show`")
    add("--rev", help="compare with the features of this DVC revision")
    add("--points", type=number(int, 1, 100000), default=10000,
        help="images in page, plot and projector (%(default)s)")
    add("--projection", choices=projection.KINDS, default="tsne",
        help="how features become two dimensions (%(default)s)")
    add("--seed", type=number(int, 0, 2**32 - 1), default=0,
        help="of sample and projection (%(default)s)")
    add("--dead", type=number(float, 0, 1e9), default=1e-6,
        help="greatest standard deviation of a dead dimension (%(default)s)")
    return parser.parse_args()


def predictions(features, chosen):
    """Return what the head says of the chosen images, integer (points,).

    None if there is no head of these features yet.
    """
    if not os.path.exists(HEAD):
        return None
    # TensorFlow takes 4 s to start: only a page needs it.
    head = importlib.import_module("stages.lib.head")
    runtime = importlib.import_module("stages.lib.runtime")
    x = [manifest.features(split) for split in files.SPLITS]
    model = runtime.load_model(HEAD)
    if model.input_shape[1:] != x[0].shape[1:]:    # not trained again yet
        return None
    parts = [head.probabilities(model, x[k][
        features.row[chosen[features.split[chosen] == k]]]).argmax(1)
        for k in range(len(x)) if (features.split[chosen] == k).any()]
    return np.concatenate(parts)


def draw(features, examined, given):
    """Write page, plots and projector files, as far as they are demanded."""
    chosen = projection.sample(
        np.flatnonzero(examined.space.usable), given.points,
        page.wanted(features, examined), given.seed)
    if given.projector:
        projector.write(given.projector, features, examined, chosen)
    if not given.html and not given.plots:
        return
    flat = projection.project(examined.space.points[chosen],
                              given.projection, given.seed)
    if given.html:
        page.write(given.html, features, examined, chosen, flat,
                   predictions(features, chosen))
    if given.plots:
        names = features.names
        files.write_csv(f"{PLOTS}/projection.csv", ["x", "y", "class"], (
            [f"{x:.4g}", f"{y:.4g}", names[label]] for (x, y), label
            in zip(flat, features.labels[chosen])))
        rows = np.flatnonzero(features.of("test") & examined.space.usable)
        files.write_csv(f"{PLOTS}/neighbours.csv", ["actual", "predicted"], (
            [names[features.labels[k]], names[examined.shares[k].argmax()]]
            for k in rows))


def kinds(text):
    """Return the kinds in `text`, separated by commas."""
    found = [name.replace("-", "_") for name in text.split(",")]
    for name in found:
        if name not in KINDS:
            raise argparse.ArgumentTypeError(
                f"unknown kind {name!r}; known: {', '.join(KINDS)}")
    return found


def demand(findings, unwanted):
    """Raise a FindingError if there is any finding of a kind in `unwanted`."""
    counts = {
        "nan": sum(one["rows_not_finite"] for one in findings["arrays"]),
        "dead": sum(len(one["dead"]) for one in findings["arrays"])}
    found = [f"{name} {counts.get(name, len(findings.get(name, ()))):,}"
             for name in unwanted
             if counts.get(name, len(findings.get(name, ())))]
    if found:
        raise FindingError(f"found what --fail-on names: {', '.join(found)}")


def main():
    """Examine the cache, say and write what was asked for."""
    given = options()
    features = cached.load()
    examined = doctor.examine(features, given)
    findings = examined.findings
    if given.rev:
        findings["difference"] = difference.difference(
            revision.load(given.rev), features, given.neighbours)
    draw(features, examined, given)
    if given.json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(report.lines(findings, given.top)))
        if given.rev:
            print("\n".join(["", *difference.lines(
                findings["difference"], given.rev, given.top)]))
    demand(examined.findings, given.fail_on)


if __name__ == "__main__":
    run(main)
