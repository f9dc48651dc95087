#!/usr/bin/env python3
"""Compare a fused model with head(cached features)."""
import contextlib
import logging
import warnings

import numpy as np

from stages.lib.backbone import backbone, cuts
from stages.lib.common import errors, files, keras_runtime, manifest
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.images import prepared
from stages.lib.training import head, numpy_head

IMAGES = 512
BATCH = 64    # images of one size
TOLERANCE = {"float32": 1e-4, "float16": 1e-2}    # of a probability
AGREEMENT = {"float32": 0.0, "float16": 0.995}    # share of equal classes
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
          ResourceWarning)    # categories that Python hides by default
VARIATION = 1e-6    # minimum spread of a feature, relative to the largest


def measure(path, source):
    """Load the fused model at `path` and compare it on some images.

    Args:
        path: of an `.h5` file.
        source: data.source.

    Returns:
        A dictionary: `result`, for results/parity.json; `varies`, whether
        features differ between images; `weights`, the SHA-256 of the frozen
        part's weights.

    Raises:
        ParityError: the model does not load, or with a warning.
    """
    cut = manifest.read()["key"]["cut"]
    images, features, names = sample(source)
    with without_warnings():
        try:
            model = keras.models.load_model(path)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise errors.ParityError(
                f"it cannot be reloaded ({reason})") from error
    cached = feature_tensor(model, cut)
    of_features, of_probabilities, same = compare(
        model, cached, keras_runtime.load_model(files.HEAD), images, features)
    largest = float(np.abs(features).max())
    return {
        "result": {
            "images": len(images),
            "feature_difference": float(of_features.max()),
            "feature_maximum": largest,
            "probability_difference": float(of_probabilities.max()),
            "worst_row": names[int(of_probabilities.argmax())],
            "class_agreement": float(same.mean())},
        "varies": varies(features),
        "weights": backbone.digest(keras.Model(model.input, cached))}


def varies(features):
    """Return whether `features`, float (k, …), differ between images."""
    return bool(np.ptp(features, axis=0).max()
                > VARIATION * np.abs(features).max())


def judge(measured, key):
    """Raise a ParityError if the fused model is not good enough.

    Args:
        measured: what `measure` returned.
        key: the cache key; its `dtype` chooses the tolerance.
    """
    result, dtype = measured["result"], key["dtype"]
    if not measured["varies"]:
        raise errors.ParityError(
            f"the features do not vary over images: {result['worst_row']} is "
            "like all others; check backbone.weights")
    if (not result["probability_difference"] <= TOLERANCE[dtype]
            or result["class_agreement"] < AGREEMENT[dtype]):
        raise errors.ParityError(
            "the fused model disagrees with head(cached features): worst is "
            f"{result['worst_row']}, by {result['probability_difference']:.3g}"
            f" in probability ({TOLERANCE[dtype]:g} is allowed), classes "
            f"agree on {result['class_agreement']:.2%}; {manifest.REPAIR}")
    if measured["weights"] != key["weights"]:
        raise errors.ParityError(
            "the weights of the frozen part differ from those with which the "
            "features were computed")


def sample(source):
    """Return `IMAGES` rows, spread evenly over all splits.

    Args:
        source: data.source.

    Returns:
        k pairs of `prepared.Images` and a row; features, float32 (k, d); and
        k names "split row i".
    """
    images, features, names = [], [], []
    cached = {split: manifest.features(split) for split in files.SPLITS}
    total = sum(map(len, cached.values()))
    chosen = np.unique(np.linspace(0, total - 1, IMAGES).astype(int))
    offset = 0
    for split, x in cached.items():
        rows = chosen[(chosen >= offset) & (chosen < offset + len(x))] - offset
        raw = prepared.Images(split, source)
        images += [(raw, row) for row in rows]
        features.append(x[rows].astype("float32"))
        names += [f"{split} row {row}" for row in rows]
        offset += len(x)
    return images, np.concatenate(features), names


def batches(images):
    """Yield the pixels of `sample`'s images, float32 (n, h, w, 3), in order.

    Images of a folder differ in size, so that each is a batch of its own.
    """
    size = 1 if images[0][0].of_files else BATCH
    for k in range(0, len(images), size):
        yield np.stack([of[row] for of, row in images[k:k + size]]).astype(
            "float32")


@contextlib.contextmanager
def without_warnings():
    """Turn warnings that users would see, and Keras' log, into a ParityError.

    From Python 3.10 on, Keras' own seeds cause a deprecation warning, which
    Python hides.
    """
    def fail(record):
        """Raise a ParityError with the logged message."""
        raise errors.ParityError(f"loading warns: {record.getMessage()}")

    loggers = [logging.getLogger("absl"), tf.get_logger()]
    level = loggers[1].level
    loggers[1].setLevel("WARNING")
    for logger in loggers:
        logger.addFilter(fail)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for hidden in HIDDEN:
                warnings.simplefilter("ignore", hidden)
            yield
    except Warning as warning:
        raise errors.ParityError(f"loading warns: {warning}") from warning
    finally:
        loggers[1].setLevel(level)
        for logger in loggers:
            logger.removeFilter(fail)


def feature_tensor(model, cut):
    """Return the tensor of the fused `model` that `extract` caches."""
    if cut == cuts.TOP:
        return model.get_layer("head_normalization").input
    return model.get_layer(cut).output


def compare(model, cached, top, images, features):
    """Return the differences between both outputs, row by row.

    Args:
        model: fused model, compiled.
        cached: `feature_tensor` of it.
        top: the head, or the tail and the head.
        images, features: as `sample` returns them.

    Returns:
        Greatest absolute difference of features (k,), of probabilities (k,),
        and whether both predict the same class (k,).
    """
    both = keras.Model(model.input, [cached, model.output])
    outputs = [both.predict_on_batch(batch) for batch in batches(images)]
    computed, output = map(np.concatenate, zip(*outputs))
    p = head.probabilities(top, features)
    q = numpy_head.to_probabilities(output, head.gives_logits(model))
    axes = tuple(range(1, features.ndim))
    return (np.abs(computed - features).max(axis=axes),
            np.abs(p - q).max(axis=1), p.argmax(axis=1) == q.argmax(axis=1))
