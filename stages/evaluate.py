#!/usr/bin/env python3
"""Score the head on validation and, once, on test.

In:  features/{validation,test}_x.npy       float32 or float16 (n, d)
     data/prepared/{validation,test}_y.npy  uint8 or int64 (n,)
     features/manifest.json                 class names
     models/head.h5
Out: results/metrics.json   accuracy, loss and calibration of both splits
     results/classes.csv    test accuracy of each class
     results/confusion.csv  actual and predicted class of each test image
"""
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import log_loss, recall_score

from stages.lib import files, head, manifest, params
from stages.lib.errors import AccuracyError
from stages.lib.runtime import load_model
from stages.lib.stage import run

BINS = 15    # of confidence, as in Guo et al. (2017)


def scores(probabilities, labels):
    """Return what is said of one split.

    Args:
        probabilities: float (n, classes), rows sum to 1.
        labels: integer (n,).

    Returns:
        accuracy with the bounds of its 95 % Wilson interval, loss
        (cross-entropy, nats), calibration_error: all in 0..1 but the loss.
    """
    right = probabilities.argmax(axis=1) == labels
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(
        0.95, method="wilson")
    return {"accuracy": float(right.mean()),
            "accuracy_low": float(interval.low),
            "accuracy_high": float(interval.high),
            "loss": float(log_loss(labels, probabilities,
                                   labels=range(probabilities.shape[1]))),
            "calibration_error": calibration_error(probabilities, right)}


def calibration_error(probabilities, right):
    """Return the expected calibration error, 0..1.

    The mean over images of |accuracy - confidence| of the image's bin of
    confidence (Guo et al., On Calibration of Modern Neural Networks, 2017).
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def main():
    """Write metrics and plots, then demand the accuracy floor."""
    floor = params.read().evaluate.accuracy_floor
    names = manifest.read()["class_names"]
    model = load_model("models/head.h5")
    metrics = {}
    for split in ("validation", "test"):
        x, labels = manifest.labelled(split)
        probabilities = head.probabilities(model, x)
        metrics[split] = scores(probabilities, labels)
    predicted = probabilities.argmax(axis=1)    # of test, the last split
    files.write_json("results/metrics.json", metrics)
    recall = recall_score(labels, predicted, labels=range(len(names)),
                          average=None, zero_division=np.nan)
    files.write_csv("results/classes.csv", ["class", "accuracy"],
                    zip(names, recall))
    files.write_csv("results/confusion.csv", ["actual", "predicted"],
                    ((names[a], names[b]) for a, b in zip(labels, predicted)))
    accuracy = metrics["test"]["accuracy"]
    print(f"evaluate: test accuracy {accuracy:.4f}")
    if floor is not None and accuracy < floor:
        raise AccuracyError(f"test accuracy {accuracy:.4f} is below "
                            f"evaluate.accuracy_floor {floor:g}")


if __name__ == "__main__":
    run(main)
