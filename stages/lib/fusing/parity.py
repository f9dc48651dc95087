#!/usr/bin/env python3
"""Compare a fused model with head(cached features)."""
import contextlib
import logging
import warnings

import numpy as np

from stages.lib.backbone import backbone
from stages.lib.common import errors, files, keras_runtime, manifest
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.fusing import comparison, model_parts, sample
from stages.lib.params import names

HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
          ResourceWarning)    # categories that Python hides by default


def measure(path, source, mode):
    """Load the fused model at `path` and compare it on some images.

    Args:
        path: of an `.h5` file.
        source: data.source.
        mode: resize.mode.

    Returns:
        A dictionary: `result`, for results/parity.json; `worst`, the rows
        with the largest differences of features and outputs; `excess`, of
        features, as `comparison.compare`; `weights`, the SHA-256 of the
        frozen part's weights; `changed`, the layers whose weights differ from
        those in models/head.h5; `head`, what it is called.

    Raises:
        ParityError: the model does not load, or with a warning.
    """
    rows = sample.Sample(source, mode)
    with without_warnings():
        try:
            model = keras.models.load_model(path)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise errors.ParityError(
                f"it cannot be reloaded ({reason})") from error
    return examine(model, manifest.read()["key"]["cut"],
                   keras_runtime.load_model(files.HEAD), rows, rows.names)


def examine(model, cut, top, rows, names):
    """Return what `measure` returns.

    Args:
        model: fused.
        cut: as `cuts.resolve` returns it.
        top: the trained head, or tail and head.
        rows: as for `comparison.compare`.
        names: of the rows.
    """
    parts = model_parts.Parts(model, cut)
    found = comparison.compare(parts, top, rows)
    return {
        "result": {
            "images": len(rows),
            "feature_difference": float(found["features"].max()),
            "feature_rounding": found["rounding"],
            "feature_maximum": found["largest"],
            "feature_spread": found["spread"],
            "output_difference": float(found["outputs"].max()),
            "output_rounding": found["output_rounding"],
            "probability_difference": float(found["probabilities"].max()),
            "worst_row": names[int(found["probabilities"].argmax())],
            "class_agreement": float(found["same"].mean())},
        "worst": {name: names[int(found[name].argmax())]
                  for name in ("excess", "outputs")},
        "excess": float(found["excess"].max()),
        "weights": backbone.digest(parts.frozen),
        "changed": changed(model, top),
        "head": describe(top)}


def changed(model, top):
    """Return the layers of `top` whose weights are not those in `model`."""
    inside = {layer.name: layer.get_weights() for layer in model.layers}
    return [layer.name for layer in top.layers[1:]
            if len(inside.get(layer.name, ())) != len(layer.get_weights())
            or not all(map(np.array_equal, inside.get(layer.name, ()),
                           layer.get_weights()))]


def describe(top):
    """Return what the model `top` is called: "linear head", for example."""
    units = [f"{layer.units:,}" for layer in top.layers
             if names.HEAD.fullmatch(layer.name)
             and "hidden" in layer.name]
    name = (f"head with {' and '.join(units)} hidden units" if units
            else "linear head")
    ours = all(names.HEAD.fullmatch(layer.name) for layer in top.layers[1:])
    return name if ours else f"tail with its {name}"


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
