#!/usr/bin/env python3
"""The figures that are reported, against figures worked out by hand."""
import csv
import glob

import numpy as np
import pytest

from stages import evaluate
from stages.lib import head, parity
from stages.lib.errors import ParityError
from stages.lib.params import Train
from stages.lib.runtime import keras


def test_interval_and_loss():
    """8 of 10 right: Wilson's 95 % interval is 0.4902 to 0.9433."""
    p = np.tile([0.9, 0.1], (10, 1))
    found = evaluate.scores(p, np.array([0] * 8 + [1] * 2))
    assert found["accuracy"] == 0.8
    assert found["accuracy_low"] == pytest.approx(0.4902, abs=1e-4)
    assert found["accuracy_high"] == pytest.approx(0.9433, abs=1e-4)
    assert found["loss"] == pytest.approx(
        -0.8 * np.log(0.9) - 0.2 * np.log(0.1))
    assert found["calibration_error"] == pytest.approx(0.1)


def test_calibration_error_is_taken_by_bin():
    """Too sure in one bin and too modest in another do not cancel."""
    p = np.repeat([[0.95, 0.05], [0.65, 0.35]], 4, axis=0)
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    assert evaluate.scores(p, labels)["calibration_error"] == pytest.approx(
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
    result = {"probability_difference": difference, "worst_row": "test row 7",
              "class_agreement": agreement}
    features = np.arange(6.0).reshape(3, 2)
    if good:
        parity.judge(result, features, dtype)
    else:
        with pytest.raises(ParityError, match="worst is test row 7"):
            parity.judge(result, features, dtype)


def train(**values):
    """Return `params.Train` with `values` changed."""
    return Train(**{**dict(
        hidden=[4], dropout=0.5, output="softmax", optimizer="SGD",
        learning_rate=0.1, decay="cosine", batch_size=2, epochs=2, seed=0),
        **values})


def test_decay():
    """Cosine starts at the learning rate and ends at 0; none is constant."""
    rate = head.optimizer(train(), steps=10)._learning_rate
    assert [float(rate(k)) for k in (0, 5, 10)] == pytest.approx(
        [0.1, 0.05, 0.0])
    steady = head.optimizer(train(decay="none"), steps=10)
    assert float(steady.learning_rate) == pytest.approx(0.1)


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
    assert normal[:, 2].std() < 2e-3    # hardly varies: not blown up
    assert head.gives_logits(model) == (output == "logits")
    p = head.probabilities(model, x)
    assert p.sum(axis=1) == pytest.approx(np.ones(500))
    assert p.min() >= 0
