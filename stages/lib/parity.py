#!/usr/bin/env python3
"""Compare a fused model with head(cached features), in a fresh process.

Usage: python -m stages.lib.parity MODEL SOURCE

SOURCE is data.source.  Writes results/parity.json; its exit status tells
whether they agree.
"""
import contextlib
import logging
import sys
import warnings

import numpy as np

from stages.lib import backbone, cuts, files, head, manifest, prepared
from stages.lib.errors import ParityError
from stages.lib.runtime import keras, load_model, tf
from stages.lib.stage import run

IMAGES = 512
BATCH = 64    # images of one size
TOLERANCE = {"float32": 1e-4, "float16": 1e-2}    # of a probability
AGREEMENT = {"float32": 0.0, "float16": 0.995}    # of the classes, at least
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
          ResourceWarning)    # by Python itself, unless asked for
VARIATION = 1e-6    # least spread of a feature over images, of the largest


def sample(source):
    """Return `IMAGES` rows spread evenly over all splits.

    Args:
        source: data.source.

    Returns:
        k pairs of `prepared.Images` and a row, features float32 (k, d), and k
        names "split row i".
    """
    images, features, names = [], [], []
    cached = {split: manifest.features(split) for split in files.SPLITS}
    total = sum(map(len, cached.values()))
    wanted = np.unique(np.linspace(0, total - 1, IMAGES).astype(int))
    offset = 0
    for split, x in cached.items():
        rows = wanted[(wanted >= offset) & (wanted < offset + len(x))] - offset
        raw = prepared.Images(split, source)
        images += [(raw, row) for row in rows]
        features.append(x[rows].astype("float32"))
        names += [f"{split} row {row}" for row in rows]
        offset += len(x)
    return images, np.concatenate(features), names


def batches(images):
    """Yield the pixels of `sample`'s images, float32 (n, h, w, 3), in order.

    Photographs, whose sizes differ, come one by one.
    """
    size = 1 if images[0][0].of_files else BATCH
    for k in range(0, len(images), size):
        yield np.stack([of[row] for of, row in images[k:k + size]]).astype(
            "float32")


@contextlib.contextmanager
def without_warnings():
    """Turn every warning that users would see, and Keras' log, into an error.

    Keras' own seeds cause a deprecation from Python 3.10 on, which is hidden.
    """
    def refuse(record):
        """Raise what is logged."""
        raise ParityError(f"loading warns: {record.getMessage()}")

    loggers = [logging.getLogger("absl"), tf.get_logger()]
    level = loggers[1].level
    loggers[1].setLevel("WARNING")
    for logger in loggers:
        logger.addFilter(refuse)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for hidden in HIDDEN:
                warnings.simplefilter("ignore", hidden)
            yield
    except Warning as warning:
        raise ParityError(f"loading warns: {warning}") from warning
    finally:
        loggers[1].setLevel(level)
        for logger in loggers:
            logger.removeFilter(refuse)


def feature_tensor(model, cut):
    """Return the tensor of the fused `model` that is cached."""
    if cut == cuts.TOP:
        return model.get_layer("head_normalization").input
    return model.get_layer(cut).output


def compare(model, cached, top, images, features):
    """Return differences per row and what both say.

    Args:
        model: fused model, compiled.
        cached: `feature_tensor` of it.
        top: what was trained.
        images, features: as `sample` returns them.

    Returns:
        Greatest absolute difference of features (k,), of probabilities (k,),
        and whether both name the same class (k,).
    """
    both = keras.Model(model.input, [cached, model.output])
    said = [both.predict_on_batch(batch) for batch in batches(images)]
    computed, output = map(np.concatenate, zip(*said))
    p = head.probabilities(top, features)
    q = head.normalised(model, output)
    axes = tuple(range(1, features.ndim))
    return (np.abs(computed - features).max(axis=axes),
            np.abs(p - q).max(axis=1), p.argmax(axis=1) == q.argmax(axis=1))


def judge(result, features, dtype):
    """Raise a ParityError if `result` is not good enough for `dtype`."""
    spread = np.ptp(features, axis=0).max()
    if not spread > VARIATION * np.abs(features).max():
        raise ParityError(
            f"the features do not vary over images: {result['worst_row']} is "
            "like all others; check backbone.weights")
    if (not result["probability_difference"] <= TOLERANCE[dtype]
            or result["class_agreement"] < AGREEMENT[dtype]):
        raise ParityError(
            "the fused model disagrees with head(cached features): worst is "
            f"{result['worst_row']}, by {result['probability_difference']:.3g}"
            f" in probability ({TOLERANCE[dtype]:g} is allowed), classes "
            f"agree on {result['class_agreement']:.2%}; {manifest.MEND}")


def main():
    """Compare, write results/parity.json, judge."""
    key = manifest.read()["key"]
    dtype = key["dtype"]
    images, features, names = sample(sys.argv[2])
    with without_warnings():
        try:
            model = keras.models.load_model(sys.argv[1])
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ParityError(f"it cannot be reloaded ({reason})") from error
    cached = feature_tensor(model, key["cut"])
    of_features, of_probabilities, same = compare(
        model, cached, load_model(files.HEAD), images, features)
    result = {
        "images": len(images),
        "feature_difference": float(of_features.max()),
        "feature_maximum": float(np.abs(features).max()),
        "probability_difference": float(of_probabilities.max()),
        "worst_row": names[int(of_probabilities.argmax())],
        "class_agreement": float(same.mean())}
    files.write_json("results/parity.json", result)
    judge(result, features, dtype)
    if backbone.digest(keras.Model(model.input, cached)) != key["weights"]:
        raise ParityError("the frozen part does not hold, to the bit, the "
                          "weights from which the features were computed")


if __name__ == "__main__":
    run(main)
