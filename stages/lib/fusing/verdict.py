#!/usr/bin/env python3
"""Decide whether the differences of a fused model are rounding."""
from stages.lib.common import errors, files, manifest
from stages.lib.fusing import comparison

NOTABLE = {"float32": 1e-4, "float16": 1e-2}    # of a probability
VARIATION = 1e-6    # minimum spread of a feature, relative to the largest
# Of the spread over images.  Beyond it, the changed weights move features by
# an eighth of the spread, and what they do is not in proportion any more.
CHAOS = comparison.SAFETY / comparison.LIFT / 8
CALM = ("check backbone.weights, and that the images differ, or set "
        "extract.engine to tensorflow")
AGAIN = "run `dvc repro --force --single-item fuse`"
WRONG = "the fused model disagrees with head(cached features): worst is"


def judge(measured, key):
    """Raise a ParityError if the fused model is wrong.

    Args:
        measured: what `parity.measure` returned.
        key: the cache key.
    """
    for fault in (_of_features(measured, key), _of_weights(measured, key),
                  _of_outputs(measured)):
        if fault:
            raise errors.ParityError(fault)


def _of_features(measured, key):
    """Return what is wrong with the features, or None."""
    result, worst = measured["result"], measured["worst"]["excess"]
    spread, rounding = result["feature_spread"], result["feature_rounding"]
    if spread <= VARIATION * result["feature_maximum"]:
        return (f"the features do not vary over images: {result['worst_row']} "
                "is like all others; check backbone.weights")
    if measured["excess"] > 0 and rounding >= CHAOS * spread:
        return (f"rounding changes the features by {rounding:.2g}, another "
                f"image by {spread:.2g} at most: with these weights the "
                "backbone amplifies rounding so much that a wrong model could "
                f"not be told from a right one; {CALM}")
    if not measured["excess"] <= rounding:
        other = ("" if key["engine"] == "tensorflow"
                 else ", or set extract.engine to tensorflow")
        return (f"{WRONG} {worst}, whose features differ by "
                f"{measured['excess']:.2g} (rounding explains {rounding:.2g});"
                f" {manifest.REPAIR}{other}")
    return None


def _of_weights(measured, key):
    """Return what is wrong with the weights, or None."""
    if measured["weights"] != key["weights"]:
        return ("the weights of the frozen part differ from those with which "
                f"the features were computed; {AGAIN}")
    if measured["changed"]:
        return (f"the weights of {', '.join(measured['changed'])} differ from "
                f"those in {files.HEAD}; {AGAIN}")
    return None


def _of_outputs(measured):
    """Return what is wrong with the outputs, or None."""
    result, worst = measured["result"], measured["worst"]["outputs"]
    if result["output_difference"] <= result["output_rounding"]:
        return None
    return (f"{WRONG} {worst}, whose output differs by "
            f"{result['output_difference']:.2g} from that of {files.HEAD} for "
            f"the same features (rounding explains "
            f"{result['output_rounding']:.2g}); {AGAIN}")


def note(measured, key):
    """Return a line if rounding becomes visible in probabilities, or None.

    Most of it comes from features that are constant on the train split but
    for rounding: the head divides them by `head.FLOOR`.  A lower learning
    rate or fewer epochs do not help (docs/experiments.md).

    Args:
        measured: of a model that `judge` accepts.
        key: the cache key.
    """
    result, dtype = measured["result"], key["dtype"]
    if result["probability_difference"] <= NOTABLE[dtype]:
        return None
    differ = round((1 - result["class_agreement"]) * result["images"])
    if dtype == "float16":
        advice = "set extract.dtype to float32"
    elif key["engine"] == "tensorflow":
        advice = "compute the features on a machine like this one"
    else:
        advice = ("set extract.engine to tensorflow, which rounds as the "
                  "fused model does")
    return (f"the fused model is right, but the {measured['head']} amplifies "
            "rounding: features that differ by "
            f"{result['feature_difference']:.2g} change a probability by "
            f"{result['probability_difference']:.2g} (worst is "
            f"{result['worst_row']}), and {differ} of {result['images']} "
            f"predicted classes; to avoid this, {advice}")
