#!/usr/bin/env python3
"""The reported numbers, against numbers computed by hand."""
import csv
import glob
import warnings

import h5py
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from stages.lib.common import errors, files, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import parity, verdict
from stages.lib.params import params
from stages.lib.results import calibration, scores
from stages.lib.training import (
    gradient_training, head, input_pipeline, numpy_head, tail, temperature)


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


def drawn(images, temperature, scale=3.0, classes=4):
    """Return probabilities, and labels drawn at `temperature`, n = `images`.

    At another temperature than 1, the probabilities are not calibrated.
    """
    random = np.random.default_rng(0)
    logits = random.normal(0, scale, (images, classes))
    chance = softmax(logits / temperature, axis=1).cumsum(axis=1)
    labels = (random.random((images, 1)) > chance[:, :-1]).sum(axis=1)
    return softmax(logits, axis=1), labels


@pytest.mark.parametrize("expected", [0.5, 1.0, 2.5])
def test_temperature_calibrates(expected):
    """The fitted temperature is that of the labels; the error is chance."""
    p, labels = drawn(8_000, expected)
    found = temperature.fit(p, labels)
    assert found == pytest.approx(expected, rel=0.05)
    assert float(f"{found:.4g}") == found    # rounding errors vanish
    after = temperature.without(p, 1 / found)
    error = calibration.error(after, after.argmax(axis=1) == labels)
    assert error <= calibration.error_by_chance(after) < 0.02
    if expected != 1:
        before = calibration.error(p, p.argmax(axis=1) == labels)
        assert before > 3 * calibration.error_by_chance(p)
    assert temperature.without(after, found) == pytest.approx(p)


def test_temperature_of_few_images():
    """Few images move it little, whether all are right or all are wrong."""
    p = np.tile([0.9, 0.06, 0.04], (10, 1))
    sure, unsure = (temperature.fit(p, np.full(10, k)) for k in (0, 2))
    assert 0.5 < sure < 1 < unsure < 6
    assert 0.5 < temperature.fit(np.eye(3)[[0]], np.array([0])) <= 1.01


def test_error_by_chance():
    """95 of 100 calibrated models are below it; it falls with the images."""
    p, _ = drawn(300, 1.0)
    limit = calibration.error_by_chance(p)
    random = np.random.default_rng(1)
    below = [calibration.error(p, random.random(300) < p.max(axis=1)) <= limit
             for _ in range(400)]
    assert 0.9 < np.mean(below) < 0.99
    assert calibration.error_by_chance(drawn(30_000, 1.0)[0]) < limit / 5


def test_temperature_of_a_run(finished):
    """It is part of the head; without it, the head is what was trained.

    The table of reliability gives the calibration error of the metrics.
    """
    metrics = files.read_json(finished.file("results/metrics.json"))
    with h5py.File(finished.file("models/head.h5")) as file:
        found = float(file.attrs["temperature"])
    assert metrics["temperature"] == found != 1
    p = numpy_head.load(finished.file("models/head.h5")).probabilities(
        np.load(finished.file("features/validation_x.npy")))
    labels = np.load(finished.file("data/prepared/validation_y.npy"))
    history = files.read_columns(finished.file("results/history.csv"),
                                 files.HISTORY)
    best = int(np.argmax(history["val_accuracy"]))
    before = temperature.without(p, found)
    assert log_loss(labels, before) == pytest.approx(
        history["val_loss"][best], abs=1e-4)
    assert temperature.fit(before, labels) == pytest.approx(found, rel=1e-3)
    rows = files.read_columns(finished.file("results/reliability.csv"), [
        "confidence", "accuracy", "images"])
    confidence, accuracy, images = map(np.array, rows.values())
    assert images.sum() == 100
    assert (images * abs(accuracy - confidence)).sum() / 100 == pytest.approx(
        metrics["test"]["calibration_error"])


def test_tables(finished):
    """Rows of the confusion are the test labels; classes are its diagonal."""
    def read(name):
        """Return a table of results as a list of dictionaries."""
        with open(finished.file(f"results/{name}"), encoding="utf-8") as file:
            return list(csv.DictReader(file))

    labels = np.load(finished.file("data/prepared/test_y.npy"))
    confusion = read("confusion.csv")
    assert [int(row["actual"]) for row in confusion] == list(labels)
    rows = read("classes.csv")
    assert sorted(int(row["class"]) for row in rows) == list(range(10))
    shares = [float(row["accuracy"]) for row in rows]
    assert shares == sorted(shares)    # the worst are first
    for row in rows:
        right = [c["predicted"] == row["class"] for c in confusion
                 if c["actual"] == row["class"]]
        assert float(row["accuracy"]) == pytest.approx(np.mean(right))
        assert int(row["images"]) == len(right)
        assert right.count(False) >= int(row["times"])
    for split in ("train", "validation"):    # TensorBoard
        assert glob.glob(finished.file(f"logs/train/*/{split}/events.*"))


@pytest.mark.parametrize("changed, message", [
    ({}, None), ({"probability_difference": 0.3}, None),
    ({"excess": 2e-5}, "worst is test row 7, whose features differ by 2e-05"),
    ({"excess": float("nan")}, "worst is test row 7, whose features differ"),
    ({"output_difference": 2e-6}, "worst is test row 8, whose output differs"),
    ({"output_difference": float("nan")}, "worst is test row 8"),
    ({"feature_rounding": float("inf")}, "so much that a wrong"),
    ({"feature_rounding": 0.1}, "rounding changes the features by 0.1, ano"),
    ({"feature_rounding": 0.1, "excess": 0.0}, None),
    ({"feature_spread": 1e-6}, "the features do not vary over images"),
    ({"weights": "v"}, "the weights of the frozen part differ"),
    ({"changed": ["a", "b"]}, "the weights of a, b differ from those in ")])
def test_tolerances(changed, message):
    """A fused model is refused if rounding does not explain a difference."""
    measured = {"result": {
        "feature_rounding": 1e-5, "feature_spread": 1.0,
        "feature_maximum": 2.0, "output_difference": 1e-7,
        "output_rounding": 1e-6, "probability_difference": 1e-5,
        "worst_row": "test row 6", "class_agreement": 1.0},
        "worst": {"excess": "test row 7", "outputs": "test row 8"},
        "excess": 9e-6, "weights": "w", "changed": []}
    key = {"weights": "w", "engine": "tflite"}
    for name, value in changed.items():
        place = measured if name in measured else measured["result"]
        place[name] = value
    if message is None:
        verdict.judge(measured, key)
    else:
        with pytest.raises(errors.ParityError, match=message):
            verdict.judge(measured, key)


@pytest.mark.parametrize("dtype, engine, difference, advice", [
    ("float32", "tflite", 9e-5, None),
    ("float32", "tflite", 2e-4, "to avoid this, set extract.engine to "
     "tensorflow, which rounds as the fused model does"),
    ("float32", "tensorflow", 2e-4, "on a machine like this one"),
    ("float16", "tflite", 9e-3, None),
    ("float16", "tflite", 2e-2, "this, set extract.dtype to float32")])
def test_rounding_is_reported(dtype, engine, difference, advice):
    """Rounding that changes probabilities visibly gives a line of advice."""
    line = verdict.note({"result": {
        "images": 200, "feature_difference": 1e-5, "worst_row": "test row 6",
        "probability_difference": difference, "class_agreement": 0.99},
        "head": "linear head"}, {"dtype": dtype, "engine": engine})
    if advice is None:
        assert line is None
    else:
        assert line.endswith(advice)
        assert ("the linear head amplifies rounding: features that differ by "
                f"1e-05 change a probability by {difference:.2g} (worst is "
                "test row 6), and 2 of 200 predicted classes") in line


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
        solver="gradient", penalties=[1], refit=False, hidden=[4],
        input_dropout=0.0, dropout=0.5, output="softmax", optimizer="SGD",
        learning_rate=0.1, weight_decay=None, decay="cosine",
        batch_size=2, epochs=2, seed=0,
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


@pytest.mark.parametrize("decay, expected", [
    ("none", 0.1), ("cosine", 0.1 * (1 + np.cos(0.75 * np.pi)) / 2)])
def test_decay(decay, expected):
    """The rate of the head stays, or falls to 0 behind the last of 4 steps."""
    keras_runtime.reset(0)
    x, y = np.eye(4, dtype="float32"), np.eye(4)
    model = head.build(train(), x, 4)
    gradient_training.fit(model, train(decay=decay), ([x], y), (x, y),
                          {"callbacks": []})
    assert float(model.optimizer.learning_rate) == pytest.approx(expected)


@pytest.mark.parametrize("output", ["softmax", "logits"])
def test_smoothing(output):
    """A share of each label is spread over all classes in the loss."""
    model = head.build(train(output=output), np.eye(3), 4)
    p, label = np.array([[0.1, 0.2, 0.3, 0.4]]), np.eye(4)[[1]]
    wanted = -(np.log(p) * (0.8 * label + 0.2 / 4)).sum()
    assert float(head.loss(model, 0.2)(
        label, np.log(p) if output == "logits" else p)) == pytest.approx(
            wanted, rel=1e-5)


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
    vector = keras.Input((3,))
    for layer in (keras.layers.Dense(3, use_bias=False),
                  keras.layers.Normalization(mean=1.0, variance=2.0),
                  keras.layers.Normalization(mean=1.0, variance=2.0,
                                             invert=True)):
        keras_runtime.save_model(keras.Model(vector, model(layer(vector))),
                                 path)
        assert numpy_head.load(path) is None


def test_weight_decay_is_of_the_head():
    """A step takes away from kernels of the head, not from tail or biases."""
    keras_runtime.reset(0)
    maps = keras.Input((2, 2, 3))
    tensor = keras.layers.Conv2D(3, 1, name="tail")(maps)
    tensor = keras.layers.GlobalAveragePooling2D()(tensor)
    for name in ("head_hidden_1", "head_output"):
        tensor = keras.layers.Dense(3, name=name,
                                    bias_initializer="ones")(tensor)
    model = keras.Model(maps, tensor)
    optimizer = head.optimizer("Adam", 0.1, weight_decay=0.5)
    before = model.get_weights()
    optimizer.build(model.trainable_variables)
    optimizer.apply_gradients([(0 * variable, variable) for variable
                               in model.trainable_variables])
    changed = {variable.name for variable, old in zip(model.weights, before)
               if (variable.numpy() != old).any()}
    assert changed == {"head_hidden_1/kernel:0", "head_output/kernel:0"}
