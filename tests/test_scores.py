#!/usr/bin/env python3
"""The reported numbers, against numbers computed by hand."""
import csv
import glob
import warnings

import numpy as np
import pytest

from stages.lib.common import errors, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import parity
from stages.lib.params import params
from stages.lib.results import scores
from stages.lib.training import head, input_pipeline, numpy_head, tail


def test_interval_and_loss():
    """8 of 10 right: Wilson's 95 % interval is 0.4902 to 0.9433."""
    p = np.tile([0.9, 0.1], (10, 1))
    found = scores.scores(p, np.array([0] * 8 + [1] * 2))
    assert found["accuracy"] == 0.8
    assert found["accuracy_low"] == pytest.approx(0.4902, abs=1e-4)
    assert found["accuracy_high"] == pytest.approx(0.9433, abs=1e-4)
    assert found["loss"] == pytest.approx(
        -0.8 * np.log(0.9) - 0.2 * np.log(0.1))
    assert found["calibration_error"] == pytest.approx(0.1)


def test_calibration_error_is_taken_by_bin():
    """Overconfidence in one bin and underconfidence in another add up."""
    p = np.repeat([[0.95, 0.05], [0.65, 0.35]], 4, axis=0)
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    assert scores.scores(p, labels)["calibration_error"] == pytest.approx(
        (4 * 0.45 + 4 * 0.35) / 8)


def test_tables(finished):
    """Rows of the confusion are the test labels; classes are its diagonal."""
    def read(name):
        """Return a table of results as a list of dictionaries."""
        with open(finished.file(f"results/{name}"), encoding="utf-8") as file:
            return list(csv.DictReader(file))

    labels = np.load(finished.file("data/prepared/test_y.npy"))
    confusion = read("confusion.csv")
    assert [int(row["actual"]) for row in confusion] == list(labels)
    for k, row in enumerate(read("classes.csv")):
        right = [c["predicted"] == row["class"] for c in confusion
                 if c["actual"] == row["class"]]
        assert int(row["class"]) == k
        assert float(row["accuracy"]) == pytest.approx(np.mean(right))
    for split in ("train", "validation"):    # TensorBoard
        assert glob.glob(finished.file(f"logs/train/*/{split}/events.*"))


@pytest.mark.parametrize("dtype, difference, agreement, good", [
    ("float32", 9e-5, 1.0, True), ("float32", 2e-4, 1.0, False),
    ("float32", float("nan"), 1.0, False), ("float16", 9e-3, 0.996, True),
    ("float16", 9e-3, 0.99, False), ("float16", 2e-2, 1.0, False)])
def test_tolerances(dtype, difference, agreement, good):
    """The fused model is refused beyond the tolerances of the dtype."""
    measured = {"result": {
        "probability_difference": difference, "worst_row": "test row 7",
        "class_agreement": agreement},
        "varies": parity.varies(np.arange(6.0).reshape(3, 2)), "weights": "w"}
    key = {"dtype": dtype, "weights": "w"}
    if good:
        parity.judge(measured, key)
    else:
        with pytest.raises(errors.ParityError, match="worst is test row 7"):
            parity.judge(measured, key)


def test_loading_must_be_quiet():
    """A warning that users see is an error; one that Python hides is not."""
    with pytest.raises(errors.ParityError, match="loading warns: visible"):
        with parity.without_warnings():
            warnings.warn("visible")
    for kind in (DeprecationWarning, ImportWarning, ResourceWarning):
        with parity.without_warnings():
            warnings.warn("hidden", kind)


def train(**values):
    """Return `params.Train` with `values` changed."""
    return params.Train(**{**dict(
        hidden=[4], dropout=0.5, output="softmax", optimizer="SGD",
        learning_rate=0.1, decay="cosine", batch_size=2, epochs=2, seed=0,
        patience=2, label_smoothing=0.0, class_weights="none"), **values})


@pytest.mark.parametrize("warm_up, expected", [
    (0.2, [0, 0.1, 0.05, 0]), (0.0, [0.1, 0.1 * (1 + 0.8090) / 2,
                                     0.1 * (1 - 0.3090) / 2, 0])])
def test_schedule(warm_up, expected):
    """The rate of the tail rises from 0 if there is a warm-up; then cosine."""
    rate = tail.schedule(params.Tail(
        learning_rate=0.1, warm_up=warm_up, batch_size=1, epochs=1,
        batch_norm="train"), 10)
    assert [float(rate(k)) for k in (0, 2, 6, 10)] == pytest.approx(
        expected, abs=1e-4)


def test_feed_draws_every_view_of_every_image():
    """Each epoch shows each image once; epochs differ; seeds repeat."""
    views = [np.arange(50.0)[:, None], 100 + np.arange(50.0)[:, None]]
    labels = np.arange(50)

    def epoch(number, seed=3):
        """Return what one epoch draws."""
        batches = input_pipeline.shuffled(views, labels, 8, seed, number).take(
            input_pipeline.steps(labels, 8))
        x, y = zip(*batches.as_numpy_iterator())
        return np.concatenate(x)[:, 0], np.concatenate(y)

    x, y = epoch(0)
    assert np.array_equal(x % 100, y) and sorted(y) == list(range(50))
    assert 10 < (x >= 100).sum() < 40
    again, other = epoch(0), epoch(1)
    assert np.array_equal(again[0], x)
    assert not np.array_equal(other[1], y)


@pytest.mark.parametrize("output", ["softmax", "logits"])
def test_head(output):
    """Layers, normalisation with its floor, probabilities that sum to 1."""
    random = np.random.default_rng(0)
    x = random.normal(5, [1, 2, 1e-6], (500, 3)).astype("float32")
    model = head.build(train(hidden=[8, 4], output=output), x, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", "Normalization", "Dense", "Dropout",
                     "Dense", "Dropout", "Dense"]
    inner = keras.Model(model.input, model.layers[1].output)
    normal = inner.predict(x, verbose=0)
    assert normal[:, :2].std(axis=0) == pytest.approx([1, 1], abs=1e-3)
    assert normal[:, 2].std() < 2e-3    # hardly varies: not amplified
    assert head.gives_logits(model) == (output == "logits")
    p = head.probabilities(model, x)
    assert p.sum(axis=1) == pytest.approx(np.ones(500))
    assert p.min() >= 0


@pytest.mark.parametrize("values", [
    {"hidden": []}, {"hidden": [8, 4]}, {"output": "logits"}])
def test_numpy_head(values, tmp_path):
    """A plain head gives the probabilities of Keras; other heads give None."""
    random = np.random.default_rng(0)
    x = random.normal(5, [1, 2, 1e-6], (500, 3)).astype("float32")
    model = head.build(train(**values), x, 4)
    path = str(tmp_path / "head.h5")
    keras_runtime.save_model(model, path)
    plain = numpy_head.load(path)
    assert (plain.shape, plain.classes) == ((3,), 4)
    assert plain.logits == (values.get("output") == "logits")
    assert np.abs(plain.probabilities(x)
                  - head.probabilities(model, x)).max() <= 1e-6
    maps = keras.Input((2, 2, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    keras_runtime.save_model(keras.Model(maps, model(pooled)), path)
    assert numpy_head.load(path) is None
