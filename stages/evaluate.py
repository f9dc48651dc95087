#!/usr/bin/env python3
"""Score the head on validation and, once, on test.

In:  features/{validation,test}_x.npy       float32 or float16 (n, d)
     features/evaluation/                   the same, for further views
     data/prepared/{validation,test}_y.npy  uint8 or int64 (n,)
     data/prepared/dataset.json             rows of test that leak
     data/prepared/test_rows.npy            names of the test images
     features/manifest.json                 class names
     models/head.h5                         and its temperature
     results/history.csv                    of the training
     data/resized/test_x.npy                uint8 (n, s, s, 3), for pictures
Out: results/metrics.json   accuracy, loss and calibration of both splits,
                            and the temperature; those of validation are
                            of the head before it was fitted with validation;
                            validation_views, test_views: of mean predictions
     results/classes.csv    test accuracy of each class, worst first
     results/confused.csv   pairs of classes, most confused first
     results/confusion.csv  actual and predicted class of each test image; of
                            many classes, of those most confused
     results/reliability.csv  confidence and accuracy of the test images
     results/history.png, confusion.png
     results/reliability.png  the same, and before the temperature
     results/mistakes.png   wrong test images, worst first
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import numpy as np

from stages.lib.common import (
    arrays, errors, files, image_table, manifest, seals, stage)
from stages.lib.params import params
from stages.lib.results import (
    calibration, charts, confusion, matrix, mistakes, reliability, scores)
from stages.lib.training import numpy_head, temperature, trained_head


def of_views(views, labels, predictions):
    """Return the scores of the mean of all views, of each split.

    Args:
        views: `evaluate.views` but the first; if there are none, returns {}.
        labels: of the splits, integer (n,).
        predictions: of the splits, then of each view of the first split, and
            of the second, float64 (n, classes).
    """
    count = len(files.SCORED)
    further = np.arange(count, len(predictions)).reshape(count, -1)
    return {f"{split}_views": scores.scores(np.mean(
        [predictions[k], *(predictions[i] for i in further[k])], axis=0),
        labels[k]) for k, split in enumerate(files.SCORED) if views}


def without_leaks(predictions, labels):
    """Return the scores of test without its leaked images; None if none leak.

    Args:
        predictions: of test, float64 (n, classes).
        labels: integer (n,).
    """
    path = "data/prepared/dataset.json"
    leaked = files.read_json(path)["leaked_rows"].get("test", [])
    kept = np.setdiff1d(np.arange(len(labels)), leaked)
    if not leaked or not len(kept):
        return None
    return {"images": len(kept),
            **scores.scores(predictions[kept], labels[kept])}


def show_calibration(predictions, labels, fitted):
    """Write the table and the diagram of accuracy by confidence.

    Args:
        predictions: float64 (n, classes), at the temperature `fitted`.
        labels: integer (n,).
    """
    rows = calibration.reliability(predictions, labels)
    files.write_csv("results/reliability.csv", rows[0],
                    (row.values() for row in rows))
    reliability.draw(temperature.without(predictions, fitted), predictions,
                     labels, fitted, "results/reliability.png")


def show_confusion(predictions, labels, names):
    """Write the tables of classes and pairs, and the confusion matrix.

    Args:
        predictions: float64 (n, classes).
        labels: integer (n,).
        names: of the classes.

    Returns:
        The most confused pairs, a list of lines for people.

    Raises:
        ArtefactError: data/prepared/test_rows.npy is not of these images.
    """
    path = "data/prepared/test_rows.npy"
    rows = image_table.read(path)
    if len(rows) != len(labels):
        raise files.unusable(path, f"{len(rows)} rows, not {len(labels)}")
    predicted = predictions.argmax(axis=1)
    pairs = confusion.pairs(labels, predictions, names,
                            [row["image"] for row in rows])
    files.write_csv("results/confused.csv", confusion.PAIRS, pairs)
    every = confusion.ordered(labels, predictions)
    files.write_csv("results/classes.csv", confusion.CLASSES,
                    confusion.classes(labels, predicted, every, names))
    confusion.write("results/confusion.csv", labels, predicted, names)
    matrix.draw(labels, predicted, every, names, "results/confusion.png")
    return confusion.lines(pairs)


def main():
    """Write metrics and plots; check the accuracy floor."""
    given = params.read().evaluate
    floor = given.accuracy_floor
    seals.check("prepare", "data/prepared/dataset.json",
                "data/prepared/test_rows.npy")
    seals.check("resize", "data/resized/test_x.npy")
    seals.check("train", "results/history.csv")
    names = manifest.read()["class_names"]
    features, labels = zip(*map(manifest.labelled, files.SCORED))
    views = given.views[1:]
    predict = trained_head.predictor(features[0].shape[1:], len(names))
    predictions = [*map(predict, features), *(
        predict(manifest.features(f"{manifest.EVALUATION}{split}/{view}"))
        for split in files.SCORED for view in views)]
    metrics = {"temperature": temperature.read(), **{
        split: scores.scores(p, y) for split, p, y in zip(
            files.SCORED, predictions, labels)},
        **of_views(views, labels, predictions)}
    unseen = numpy_head.validation()
    if unseen:    # now, the head has seen validation
        metrics["validation"] = unseen
        metrics.pop("validation_views", None)
    labels, predictions = labels[1], predictions[1]    # of test
    honest = without_leaks(predictions, labels)
    if honest:
        metrics["test_without_leaks"] = honest
    files.write_json("results/metrics.json", metrics)
    show_calibration(predictions, labels, metrics["temperature"])
    charts.history(files.read_columns("results/history.csv", files.HISTORY,
                                      ["part"]), "results/history.png")
    pairs = show_confusion(predictions, labels, names)
    mistakes.draw(arrays.open_array("data/resized/test_x.npy", ndim=4),
                  predictions, labels, names, "results/mistakes.png")
    accuracy = metrics["test"]["accuracy"]
    if views:
        print(f"evaluate: mean of {len(given.views)} views: test accuracy "
              f"{metrics['test_views']['accuracy']:.4f}")
    print(f"evaluate: test accuracy {accuracy:.4f}" + (
        f"; {honest['accuracy']:.4f} without the "
        f"{len(labels) - honest['images']:,} images that are in train or "
        "validation, too" if honest else ""))
    if pairs:
        print(f"evaluate: most often confused: {', '.join(pairs)}; "
              "all in results/confused.csv")
    if floor is not None and accuracy < floor:
        raise errors.AccuracyError(f"test accuracy {accuracy:.4f} is below "
                                   f"evaluate.accuracy_floor {floor:g}")


if __name__ == "__main__":
    stage.run(main)
