#!/usr/bin/env python3
"""The comparison of `fuse`: right models pass, twins with a fault do not."""
import re

import conftest
import numpy as np
import parts
import pytest
import twins

from stages.lib.backbone import backbone, cuts
from stages.lib.common import errors, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.engines import engine
from stages.lib.fusing import comparison, model_parts, parity, verdict
from stages.lib.images import rescaling
from stages.lib.params import params
from stages.lib.training import head

SIDE = 32
CLASSES = 3
STEEP = 1e4
RESIZE = params.Resize(side=SIDE, mode="stretch", antialias=False)
FEATURES = (r"the fused model disagrees with head\(cached features\): worst "
            r"is test row \d+, whose features differ by \S+ \(rounding "
            r"explains \S+\); run `make repair`, then `dvc repro`")
EXPECTED = {
    "frozen weight": "the weights of the frozen part differ|" + FEATURES,
    "head weight": r"the weights of head_output differ from those in "
                   r"models/head\.h5; run `dvc repro --force",
    "swapped channels": FEATURES, "wrong scaling": FEATURES,
    "wrong side": FEATURES, "nearest": FEATURES,
    "no activation": r"worst is test row \d+, whose output differs by .* "
                     r"from that of models/head\.h5 for the same features",
    "replaced row": FEATURES.replace(r"row \d+", "row 15")}


class Case:
    """SimpleCNN with random weights, some images, their cached features."""

    def __init__(self, images, dtype="float32", cut=cuts.TOP):
        """Extract the features of `images`, uint8 (n, h, w, 3)."""
        keras_runtime.reset(0)
        self.base = backbone.build(params.Backbone(
            application="SimpleCNN", options={}, pooling="avg", cut=cut,
            weights=parts.RANDOM), SIDE)
        parts.lively(self.base)
        extractor = backbone.extractor(backbone.frozen(self.base, cut),
                                       "SimpleCNN")
        pixels = rescaling.rescale(images, SIDE).numpy().astype("uint8")
        self.features = engine.load("tflite", extractor, None).compute(
            pixels).astype(dtype)
        self.images, self.rows = images, list(zip(images, self.features))
        self.cut, self.key = cut, {
            "dtype": dtype, "engine": "tflite",
            "weights": backbone.digest(extractor)}

    def head(self, hidden=(8,), output="softmax"):
        """Return a head with initial weights."""
        return head.build(params.Train(
            solver="gradient", penalties=[1], refit=False, input_dropout=0.0,
            weight_decay=None,
            hidden=list(hidden), dropout=0.0, output=output, optimizer="SGD",
            learning_rate=0.1, decay="none", batch_size=8, epochs=1, seed=0,
            patience=1, label_smoothing=0.0, class_weights="none"),
            self.features, CLASSES)

    def steep_head(self, hidden):
        """Return a head that sees nothing but rounding.

        Its output layer is orthogonal to what the layer before it gives for
        the cached features.
        """
        top = self.head(hidden)
        inner = keras.Model(top.input, top.layers[-2].output)
        seen = head.outputs(inner, self.features).astype("float64")
        assert len(seen) < seen.shape[1]
        blind = np.linalg.svd(seen)[2][-1]
        top.layers[-1].set_weights([
            np.outer(blind, STEEP * np.array([1, -1, 0])), np.zeros(CLASSES)])
        return top

    def fused(self, top, kind=None):
        """Return the fused model, reloaded, with a fault of `kind`."""
        return twins.fused(self.base, "SimpleCNN", top, self.images[0].shape,
                           RESIZE, kind)

    def measured(self, model, top, rows=None):
        """Return what the comparison measures."""
        names = [f"test row {k}" for k in range(len(self.rows))]
        return parity.examine(model, self.cut, top, rows or self.rows, names)


@pytest.fixture(scope="module")
def coloured():
    """Return a `Case` of coloured images, not square, and its head."""
    images = conftest.images(0, 3)[0][:, :12]
    case = Case(images)
    return case, case.head()


@pytest.fixture(scope="module")
def white():
    """Return a `Case` of white circles and squares on black."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[:24, :24]
    found = []
    for k in range(24):
        (cy, cx), r = random.integers(8, 16, 2), random.integers(3, 7)
        inside = ((y - cy)**2 + (x - cx)**2 < r * r if k % 2 else
                  np.maximum(abs(y - cy), abs(x - cx)) < r)
        found.append(np.repeat(inside[..., None] * np.uint8(255), 3, axis=2))
    return Case(np.stack(found))


def test_right_model_passes(coloured):
    """The right model is accepted, and nothing is said."""
    case, top = coloured
    measured = case.measured(case.fused(top), top)
    verdict.judge(measured, case.key)
    assert verdict.note(measured, case.key) is None
    assert measured["result"]["images"] == len(case.rows)
    assert measured["result"]["class_agreement"] == 1


@pytest.mark.parametrize("kind", twins.KINDS)
def test_twin_is_refused(coloured, kind):
    """One fault is enough, and the message says which row and what to do."""
    case, top = coloured
    model = case.fused(top, kind)
    rows = twins.replaced(case.rows) if kind == "replaced row" else None
    with pytest.raises(errors.ParityError) as refused:
        verdict.judge(case.measured(model, top, rows), case.key)
    assert re.search(EXPECTED[kind], str(refused.value)), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("hidden, name", [
    ((), "linear head"), ((1024,), "head with 1,024 hidden units")])
def test_steep_head_is_no_fault(white, hidden, name):
    """Rounding that a head amplifies is reported, and the model accepted."""
    top = white.steep_head(hidden)
    model = white.fused(top)
    measured = white.measured(model, top)
    assert measured["result"]["probability_difference"] > 1e-4
    verdict.judge(measured, white.key)
    assert re.fullmatch(
        rf"the fused model is right, but the {name} amplifies rounding: "
        r"features that differ by \S+ change a probability by \S+ \(worst is "
        r"test row \d+\), and \d+ of 24 predicted classes; to avoid this, "
        "set extract.engine to tensorflow, which rounds as the fused model "
        "does", verdict.note(measured, white.key))
    with pytest.raises(errors.ParityError, match="worst is test row 12"):
        verdict.judge(white.measured(
            model, top, twins.replaced(white.rows)), white.key)


def test_float16_hides_no_fault():
    """The rounding of float16 is allowed, not more."""
    case = Case(conftest.images(0, 2)[0], "float16")
    top = case.head(output="logits")
    measured = case.measured(case.fused(top), top)
    verdict.judge(measured, case.key)
    result = measured["result"]
    assert result["feature_difference"] > result["feature_rounding"]
    features = np.array(case.features)
    row, feature = np.unravel_index(features.argmax(), features.shape)
    features[row, feature] *= 1 + 2**-8    # a few units in the last place
    with pytest.raises(errors.ParityError,
                       match=f"worst is test row {row}, whose features"):
        verdict.judge(case.measured(case.fused(top), top, list(zip(
            case.images, features))), case.key)


def test_maps_and_photographs():
    """Maps at a cut are compared, and images of different sizes together."""
    images = conftest.images(0, 1)[0]
    case = Case(images, cut="block2_conv2_bn")
    top = parts.learn(case.base, case.cut, case.features[:parts.IMAGES])
    case.rows = [(image[:, :16 - k % 3], f) for k, (image, f) in enumerate(
        case.rows)]
    model = twins.fused(case.base, "SimpleCNN", top, (None, None, 3), RESIZE)
    pixels = model_parts.Parts(model, case.cut).inputs(
        [image for image, _ in case.rows])
    for (image, _), found in zip(case.rows, pixels):
        assert np.array_equal(rescaling.rescale(image[None], SIDE)[0], found)
    with pytest.raises(errors.ParityError, match="whose features differ"):
        verdict.judge(case.measured(model, top), case.key)
    case.rows = list(zip(images, case.features))
    verdict.judge(case.measured(model, top), case.key)
    wrong = twins.fused(case.base, "SimpleCNN", top, (None, None, 3), RESIZE,
                        "wrong side")
    with pytest.raises(errors.ParityError, match="computes features of shape"):
        case.measured(wrong, top)


def test_rounding_of_pooling():
    """A mean over many positions, added in another order, is right."""
    side, random = 192, np.random.default_rng(0)
    pixels = keras.Input((side, side, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(
        keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2)(
        keras.layers.Normalization(
            name="head_normalization", mean=0.5, variance=1)(pooled)))
    features = keras.Input((3,))
    top = keras.Model(features, model.layers[-1](model.layers[-2](features)))
    images = random.integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    scaled = images.reshape(6, -1, 3) * np.float32(1 / 255)
    cached = scaled.mean(axis=1, dtype=np.float64).astype(np.float32)
    found = comparison.compare(model_parts.Parts(model, "top"), top,
                               list(zip(images, cached)))
    assert 1e-6 < found["excess"].max() <= found["rounding"] < 5e-5
