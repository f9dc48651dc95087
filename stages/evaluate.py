#!/usr/bin/env python3
"""Score the head on validation and, once, on test.

In:  features/{validation,test}_x.npy       float32 or float16 (n, d)
     data/prepared/{validation,test}_y.npy  uint8 or int64 (n,)
     features/manifest.json                 class names
     models/head.h5
     results/history.csv                    of the training
     data/resized/test_x.npy                uint8 (n, s, s, 3), for pictures
Out: results/metrics.json   accuracy, loss and calibration of both splits
     results/classes.csv    test accuracy of each class
     results/confusion.csv  actual and predicted class of each test image
     results/history.png, confusion.png
     results/mistakes.png   wrong test images, most confident first
"""
if not __package__:
    raise SystemExit("run this as: python -m stages.evaluate")

import numpy as np
from sklearn.metrics import recall_score

from stages.lib.common import arrays, errors, files, manifest, stage
from stages.lib.params import params
from stages.lib.results import charts, scores
from stages.lib.training import numpy_head


def probabilities(splits, classes):
    """Return the predictions of the head, a list of float64 (n, classes).

    Args:
        splits: features of each split, float (n, …).
        classes: number of classes.

    Raises:
        ArtefactError: the head is missing, damaged, or of other features.
    """
    shape = splits[0].shape[1:]
    plain = numpy_head.load()
    if plain:
        numpy_head.check((plain.shape, plain.classes), (shape, classes))
        return [plain.probabilities(x) for x in splits]
    from stages.lib.training import head    # starts TensorFlow
    model = head.load(shape, classes)
    return [head.probabilities(model, x) for x in splits]


def main():
    """Write metrics and plots; check the accuracy floor."""
    floor = params.read().evaluate.accuracy_floor
    names = manifest.read()["class_names"]
    splits = ("validation", "test")
    features, labels = zip(*map(manifest.labelled, splits))
    predictions = probabilities(features, len(names))
    metrics = {split: scores.scores(p, y) for split, p, y in zip(
        splits, predictions, labels)}
    labels, predictions = labels[1], predictions[1]    # of test
    predicted = predictions.argmax(axis=1)
    files.write_json("results/metrics.json", metrics)
    recall = recall_score(labels, predicted, labels=range(len(names)),
                          average=None, zero_division=np.nan)
    files.write_csv("results/classes.csv", ["class", "accuracy"],
                    zip(names, recall))
    files.write_csv("results/confusion.csv", ["actual", "predicted"],
                    ((names[a], names[b]) for a, b in zip(labels, predicted)))
    charts.history(files.read_columns("results/history.csv", files.HISTORY,
                                      ["part"]), "results/history.png")
    charts.confusion(labels, predicted, names, "results/confusion.png")
    charts.mistakes(arrays.open_array("data/resized/test_x.npy", ndim=4),
                    predictions, labels, names, "results/mistakes.png")
    accuracy = metrics["test"]["accuracy"]
    print(f"evaluate: test accuracy {accuracy:.4f}")
    if floor is not None and accuracy < floor:
        raise errors.AccuracyError(f"test accuracy {accuracy:.4f} is below "
                                   f"evaluate.accuracy_floor {floor:g}")


if __name__ == "__main__":
    stage.run(main)
