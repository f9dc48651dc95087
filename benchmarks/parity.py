#!/usr/bin/env python3
"""The comparison of `fuse` on random small configurations, and on twins.

Usage: benchmarks/parity.py [COUNT [WEIGHTS [SEED]]]

Draws COUNT configurations (500): application, weights, images, cut, engine,
dtype, head and its training.  Each one passes extract, train and fuse by the
project's own functions, on one thread, and must be accepted.  Two of three
then get one fault, and this twin must be refused.  WEIGHTS: of MobileNet 0.75
without top, for a quarter of the configurations; without it, all weights are
random.  Prints a table and writes build/parity.json.
"""
import collections
import json
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import conftest  # noqa: E402
conftest.pytest_configure()    # one thread, before TensorFlow starts

import numpy as np  # noqa: E402
import parity_cases as cases  # noqa: E402
import twins  # noqa: E402
from stages.lib.common import errors, keras_runtime  # noqa: E402
from stages.lib.common.keras_runtime import keras  # noqa: E402
from stages.lib.fusing import parity, verdict  # noqa: E402

OUTPUT = os.path.join(ROOT, "build", "parity.json")
HEADS = 4    # for each backbone and data set
TWINS = 0.65    # share of the configurations
VALUES = {"ratios": "error of features / explained by rounding",
          "outputs": "error of outputs / explained by rounding",
          "chaos": "explained by rounding / spread of features",
          "features": "error of features / largest feature",
          "probabilities": "difference in probability"}


def compared(model, backbone, top, rows):
    """Return the error of the comparison or None, and what was measured."""
    measured = None
    try:
        measured = parity.examine(model, backbone.cut, top, rows, range(
            len(rows)))
        verdict.judge(measured, backbone.key)
    except errors.ParityError as error:
        return str(error), measured
    return None, measured


def changes(kind, model, backbone, right, rows):
    """Return whether the twin `model` differs from the `right` model at all.

    Without colour, for example, exchanged channels change nothing.
    """
    if kind in ("swapped channels", "nearest"):
        before, after = (keras.Model(one.input, one.layers[1].output).predict(
            backbone.images, verbose=0) for one in (right, model))
        return not np.array_equal(before, after)
    if kind == "replaced row":
        return not all(np.array_equal(f, g) for (_, f), (_, g) in zip(
            rows, backbone.rows))
    return True


def possible(backbone, head):
    """Return the kinds of twins that make sense for a configuration."""
    return [kind for kind in twins.KINDS if not (
        kind == "no activation" and not head.hidden
        or kind == "nearest" and backbone.resize.mode != "stretch")]


def check(backbone, head, found):
    """Check one configuration; note the outcome in `found`.

    Args:
        backbone: `cases.Backbone`.
        head: `params.Train`.
        found: what `main` collects.

    Returns:
        What the model was fused from, and the fused model; None: no model.
    """
    try:
        top = backbone.learn(head)
    except errors.TrainingError:
        found["counts"]["diverged"] += 1
        return None
    made_of = [backbone.base, backbone.given.application, top,
               backbone.images[0].shape, backbone.resize]
    model = twins.fused(*made_of)
    error, measured = compared(model, backbone, top, backbone.rows)
    found["counts"]["configurations"] += 1
    result = measured["result"]
    if result["feature_spread"] <= verdict.VARIATION * result[
            "feature_maximum"]:    # not by rounding
        found["counts"]["refused: all features are constant"] += 1
        found["constant"].append([str(backbone), result["feature_maximum"]])
        return None
    for name, value in [
            ("ratios", measured["excess"] / result["feature_rounding"]),
            ("features", measured["excess"] / result["feature_maximum"]),
            ("outputs", result["output_difference"]
             / result["output_rounding"]),
            ("chaos", result["feature_rounding"] / result["feature_spread"]),
            ("probabilities", result["probability_difference"])]:
        found[name].append(value)
    if error:
        found["alarms"].append([str(backbone), str(head), error])
        print("FALSE ALARM", *found["alarms"][-1], flush=True)
    elif verdict.note(measured, backbone.key):
        found["counts"]["accepted with a note"] += 1
    return made_of, model


def check_twin(backbone, head, kind, made_of, right, found):
    """Check a twin of an accepted configuration.

    Args:
        backbone, head, found: as `check`.
        kind: one of `twins.KINDS`.
        made_of, right: as `check` returns them.
    """
    rows, twin = backbone.rows, right
    if kind == "replaced row":
        rows = twins.replaced(rows)
    elif kind in ("frozen weight", "head weight"):
        twins.change_weight(twin, kind == "head weight")
    else:
        twin = twins.fused(*made_of, kind)
    if not changes(kind, twin, backbone, right, rows):
        found["counts"][f"no twin: {kind} changes nothing"] += 1
        return
    error, measured = compared(twin, backbone, made_of[2], rows)
    found["twins"][kind].append(error is not None)
    if not error:
        found["missed"].append([kind, str(backbone), str(head), measured])
        print("MISSED", *found["missed"][-1], flush=True)


def table(found, seconds):
    """Print the outcome."""
    counts = found["counts"]
    print(f"| configurations | {counts.pop('configurations'):,} |\n|---|---|")
    print(f"| false alarms | {len(found['alarms'])} |")
    print("| feature arrays that differ by rounding | "
          f"{len(set(found['ratios']) - {0.0})} |")
    for name, count in sorted(counts.items()):
        print(f"| {name} | {count} |")
    for name, label in VALUES.items():
        values = np.sort(found[name])
        print(f"| {label}: median, largest | {np.median(values):.2g}, "
              f"{values[-1]:.2g} |")
    for kind, caught in sorted(found["twins"].items()):
        print(f"| twin: {kind} | {sum(caught)} of {len(caught)} refused |")
    print(f"| minutes | {seconds / 60:.1f} |")


def write(found):
    """Write build/parity.json."""
    os.makedirs(os.path.dirname(OUTPUT), exist_ok=True)
    with open(OUTPUT, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)


def main(count="500", weights=None, seed="0"):
    """Check `count` configurations; fail on a false alarm or a missed twin."""
    random, begin = np.random.default_rng(int(seed)), time.monotonic()
    found = {"counts": collections.Counter(), "alarms": [], "missed": [],
             "constant": [], "twins": collections.defaultdict(list),
             **{name: [] for name in VALUES}}
    while found["counts"]["configurations"] < int(count):
        keras_runtime.reset(0)
        backbone = cases.Backbone(random, weights)
        for _ in range(HEADS):
            head = cases.head(random)
            kind = str(random.choice(possible(backbone, head)))
            wanted, made = random.random() < TWINS, check(backbone, head,
                                                          found)
            if wanted and made:
                check_twin(backbone, head, kind, *made, found)
            if found["counts"]["configurations"] == int(count):
                break
        print(f"{found['counts']['configurations']}: {backbone}, "
              f"{time.monotonic() - begin:.0f} s", flush=True)
        write(found)
    table(found, time.monotonic() - begin)
    if found["alarms"] or found["missed"]:
        sys.exit("parity: false alarms or missed twins, see above")


if __name__ == "__main__":
    main(*sys.argv[1:])
