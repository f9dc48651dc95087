#!/usr/bin/env python3
"""How a fused model differs from head(cached features), and what rounding is.

Rounding is measured, not assumed.  A sum of n products in float32 is the exact
sum of products whose weights are changed by at most lambda sqrt(n) u, u =
2**-24, with high probability for a small lambda (Higham and Mary, A new
approach to probabilistic rounding error analysis, 2019).  So the model
computes once more with each weight changed by sqrt(n) u, the signs drawn at
random; `SAFETY` times the largest change of an output is what rounding
explains.  This follows how a network amplifies rounding: docs/experiments.md.
Pooling has no weights: a mean over n positions may be off by sqrt(n) u.

A model that averages views is compared in the same way: the features of the
first view, identity, with the cached ones, the pixels of the others with those
that `extract` would see, exactly.
"""
import contextlib

import numpy as np

from stages.lib.common import errors, manifest
from stages.lib.training import head, numpy_head

BATCH = 32
SAFETY = 4    # lambda, and the chance of one draw
UNIT = 2.0**-24    # largest relative rounding of a float32
LIFT = 16    # weights change by so much more: rounding itself is then small
ULP = 2.0**-23    # of the largest value: no output is more exact
HALF, TINY = 2.0**-11, 2.0**-25    # rounding of a float16: relative, absolute
BLIND = 0.25    # of the spread of outputs over images: the largest bound


class Range:
    """Least and largest of each element over all images."""

    def __init__(self):
        """Begin without images."""
        self._low, self._high = np.inf, -np.inf

    def add(self, arrays):
        """Include `arrays`, float (k, …)."""
        self._low = np.minimum(self._low, arrays.min(axis=0))
        self._high = np.maximum(self._high, arrays.max(axis=0))

    def spread(self):
        """Return the largest difference of an element between two images."""
        return float((self._high - self._low).max())

    def largest(self):
        """Return the largest absolute value."""
        return float(np.maximum(-self._low, self._high).max())


def compare(parts, top, rows):
    """Return all differences, and what rounding explains of them.

    With f the cached features, c those of the fused model, q its output, and
    h the trained head, or tail and head, of models/head.h5:
    q - h(f) = (q - h(c)) + (h(c) - h(f)).  The second term is what the
    difference c - f becomes in this head.  So a model is right if c - f is
    rounding of the frozen part and q - h(c) is rounding of h, however large
    q - h(f) is.

    Args:
        parts: `model_parts.Parts` of the fused model.
        top: h.
        rows: a sequence of pairs: image, uint8 (h, w, 3), and its cached
            features, float32 or float16, (d,) or (h, w, c).

    Returns:
        A dictionary.  Arrays (k,), largest differences of each row:
        `features`, |c - f|; `excess`, the same less the rounding of float16;
        `outputs`, |q - h(c)|; `probabilities`, |q - h(f)|; and `same`,
        whether both predict the same class.  Numbers: `rounding` and
        `output_rounding`, which `excess` and `outputs` may reach; `largest`
        |f|; `spread`, the largest difference of a feature between two images.

    Raises:
        ParityError: c and f differ in shape.
    """
    found, features, outputs = [], Range(), Range()
    for k in range(0, len(rows), BATCH):
        pixels, f = _read(parts, rows, range(k, min(k + BATCH, len(rows))))
        found.append(_differences(parts, top, pixels, f, outputs))
        features.add(f.astype("float32"))
    found = {name: np.concatenate([part[name] for part in found])
             for name in found[0]}
    order = [*np.linspace(0, len(rows) - 1, BATCH // 2).astype(int),
             *np.argsort(-found["excess"])]    # also the worst rows
    of_features, of_outputs = rounding(parts, top, _read(
        parts, rows, list(dict.fromkeys(order))[:BATCH])[0])
    return {**found, "largest": features.largest(),
            "spread": features.spread(),
            "rounding": of_features + features.largest() * (
                ULP + UNIT * np.sqrt(parts.positions)),
            "output_rounding": min(of_outputs, BLIND * outputs.spread())
            + 8 * ULP * outputs.largest()}


def _read(parts, rows, chosen):
    """Return what `parts.inputs` makes of some rows, and their features.

    One photograph is in memory at a time.
    """
    features = []

    def images():
        """Yield the images; keep the features."""
        for k in chosen:
            image, found = rows[k]
            features.append(found)
            yield image

    return parts.inputs(images()), np.stack(features)


def _differences(parts, top, pixels, cached, outputs):
    """Return the arrays of `compare` for one batch; add h(c) to `outputs`.
    """
    f = cached.astype("float32")
    parts.check_views(pixels)
    c, q = parts.rest.predict_on_batch(pixels)
    c, of_views = np.split(c, [len(f)])
    if c.shape != f.shape:
        raise errors.ParityError(
            f"the fused model computes features of shape {c.shape[1:]}, "
            f"cached are {f.shape[1:]}; {manifest.REPAIR}")
    own, expected = (parts.mean(top.predict_on_batch(np.concatenate(
        [first, of_views]))) for first in (c, f))
    outputs.add(own)
    error, axes = np.abs(c - f), tuple(range(1, c.ndim))
    stored = (HALF * np.abs(c) + TINY) if cached.dtype == "float16" else 0.0
    p, of_model = (numpy_head.to_probabilities(
        output, head.gives_logits(top)) for output in (expected, q))
    return {"features": error.max(axis=axes),
            "excess": np.maximum(error - stored, 0).max(axis=axes),
            "outputs": np.abs(q - own).max(axis=1),
            "probabilities": np.abs(of_model - p).max(axis=1),
            "same": of_model.argmax(axis=1) == p.argmax(axis=1)}


def rounding(parts, top, pixels):
    """Return how far rounding can move features c, and outputs h(c).

    Args:
        parts, top: as `compare`.
        pixels: as `parts.inputs` returns them.
    """
    random = np.random.default_rng(0)
    c, _ = parts.rest.predict_on_batch(pixels)
    with changed_weights(parts.rest, random):
        of_features = np.abs(parts.rest.predict_on_batch(pixels)[0] - c).max()
    q = parts.mean(top.predict_on_batch(c))
    with changed_weights(top, random):
        of_outputs = np.abs(parts.mean(top.predict_on_batch(c)) - q).max()
    return [float(change) * SAFETY / LIFT
            for change in (of_features, of_outputs)]


@contextlib.contextmanager
def changed_weights(model, random):
    """Change each weight of `model` by `LIFT` sqrt(n) u; then restore it.

    n is the number of products that the weight is summed with.
    """
    before, after = model.get_weights(), []
    for variable, weight in zip(model.weights, before):
        inputs = (weight.shape[:2] if "depthwise_kernel" in variable.name
                  else weight.shape[:-1])
        change = LIFT * UNIT * np.sqrt(np.prod(inputs))
        signs = random.integers(0, 2, weight.shape, "int8") * 2 - 1
        after.append((weight * (1 + change * signs)).astype(weight.dtype)
                     if weight.dtype.kind == "f" else weight)
    model.set_weights(after)
    try:
        yield
    finally:
        model.set_weights(before)
