#!/usr/bin/env python3
"""Train the head, then the tail; keep the best epoch; fit its temperature.

Or solve a linear head for each penalty, and keep the best penalty.

In:  features/{train,validation}_x.npy       float32 or float16, (n, d) or maps
     features/views/{view}_x.npy             the same, for further views
     data/prepared/{train,validation}_y.npy  uint8 or int64 (n,)
     features/manifest.json                  class names
     backbone.weights                        for the tail, if there is a cut
Out: models/head.h5       float32 features -> (n, classes), logits divided by
                          the attribute `temperature`, fitted on validation;
                          the attribute `validation`, if the head was fitted
                          again with validation: scores of the head before
     results/history.csv  accuracy and loss of train and validation by epoch,
                          or by penalty, at temperature 1
     logs/train/<time>/   TensorBoard, not tracked
     models/scratch/      finished epochs of the tail, not tracked
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import contextlib
import json
import os
import time

import numpy as np

from stages.lib.backbone import layers, portable
from stages.lib.common import files, keras_runtime, manifest, stage, timings
from stages.lib.params import params
from stages.lib.results import scores
from stages.lib.training import (
    exact_head, gradient_training, head, numpy_head, tail, temperature,
    tensorboard_log)


def solve(given, data, validation, by_class, log):
    """Solve a linear head for each penalty; keep the best on validation.

    Args and returns are those of `gradient_training.train`; `given` is its
    group alone, and the features are vectors, which may be memory-mapped.

    Raises:
        PlanError: it does not fit into memory.
        TrainingError: a penalty is too small.
    """
    (views, labels), (x, y), classes = data, validation, len(by_class)
    exact_head.check_memory(given, len(views) * len(labels) + len(y),
                            x.shape[1], classes)
    linear = given.model_copy(update={"hidden": [], "input_dropout": 0.0})
    model = head.build(linear, views[0], classes)
    normal, last = model.layers[1], model.layers[-1]
    mean, variance = (weight.astype("float64")
                      for weight in normal.get_weights()[:2])
    solver = exact_head.SOLVERS[given.solver](mean, np.sqrt(variance),
                                              by_class)
    solver.add(views, labels)
    path = exact_head.Path(solver, given, (views[0], labels), validation)
    tensorboard_log.write(log, model, path.history)
    rows = [[f"penalty {penalty:g}", *values] for penalty, values in zip(
        path.penalties, zip(*(path.history[name] for name in files.HISTORY)))]
    last.set_weights(path.head)
    found = head.calibrate(model, x, y)
    attributes = {temperature.ATTRIBUTE: str(found)}
    if given.refit:
        attributes[numpy_head.VALIDATION] = json.dumps(
            scores.scores(head.probabilities(model, x), y))
        solver.add([x], y)
        last.set_weights([weight / found for weight in solver.refine(
            path.penalty, path.head)])
    return model, rows, attributes


def labelled(given):
    """Return (views, labels) of train, and (x, labels) of validation.

    Features are memory-mapped, labels integer (n,).

    Args:
        given: `params.Params`.
    """
    plain, y = manifest.labelled("train")
    views = [plain] + [manifest.features(f"views/{view}")
                       for view in given.extract.views[1:]]
    return (views, y), manifest.labelled("validation")


def weights(given, labels, classes):
    """Return the weight of an image of each class, float64 (classes,).

    Args:
        given: `params.Train`.
        labels: of train, integer (n,).
        classes: number of classes.
    """
    from sklearn.utils.class_weight import compute_class_weight
    balanced = given.class_weights == "balanced"    # by number of images
    return compute_class_weight("balanced" if balanced else None,
                                classes=np.arange(classes), y=labels)


def write(model, rows, attributes):
    """Write the model and the history; print the best epoch or penalty.

    Args:
        model, rows, attributes: as `gradient_training.train` returns them.
    """
    files.write_csv("results/history.csv", ["epoch", "part", *files.HISTORY],
                    ([k, *row] for k, row in enumerate(rows, start=1)))
    keras_runtime.save_model(model, files.HEAD, **attributes)
    best = int(np.argmax([row[2] for row in rows]))
    part, _, accuracy, *_ = rows[best]
    solved = part.startswith("penalty")
    where = part if solved else f"epoch {best + 1}"
    print(f"train: best {where} of {len(rows)}{'' if solved else f' ({part})'}"
          f": validation accuracy {accuracy:.4f}; its logits are divided by "
          f"the temperature {attributes[temperature.ATTRIBUTE]}")
    if solved and best in (0, len(rows) - 1):
        print("train: it is the first or the last of train.penalties; one "
              "beyond it may be better")
    if numpy_head.VALIDATION in attributes:
        print("train: the head was then fitted again, with validation")


def main():
    """Train, then write the model and the history."""
    given, described = params.read(), manifest.read()
    key, classes = described["key"], len(described["class_names"])
    data, validation = labelled(given)
    by_class = weights(given.train, data[1], classes)
    portable.check(given, lambda: layers.build(given).base)
    keras_runtime.reset(given.train.seed)
    resumed, start = os.path.exists(tail.PROGRESS), time.monotonic()
    with tensorboard_log.callback("train") as log:
        if given.train.solver == "gradient":
            found = gradient_training.train(
                given, key, data, validation, by_class, log)
        else:
            found = solve(given.train, data, validation, by_class, log)
    seconds = time.monotonic() - start
    write(*found)
    if not resumed:
        timings.record(files.digest(files.HEAD, "sha256"), seconds)


def forget_progress():
    """Remove the state of the tail's training."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tail.PROGRESS)


if __name__ == "__main__":
    stage.run(main, finish=forget_progress)
