#!/usr/bin/env python3
"""Train the head, then the tail; keep the best epoch; fit its temperature.

In:  features/{train,validation}_x.npy       float32 or float16, (n, d) or maps
     features/views/{view}_x.npy             the same, for further views
     data/prepared/{train,validation}_y.npy  uint8 or int64 (n,)
     features/manifest.json                  class names
     backbone.weights                        for the tail, if there is a cut
Out: models/head.h5       float32 features -> (n, classes), logits divided by
                          the attribute `temperature`, fitted on validation
     results/history.csv  accuracy and loss of train and validation by epoch,
                          at temperature 1
     logs/train/<time>/   TensorBoard, not tracked
     models/scratch/      finished epochs of the tail, not tracked
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import contextlib
import hashlib
import os
import time

import numpy as np

from stages.lib.backbone import backbone, cuts
from stages.lib.common import files, keras_runtime, manifest, stage, timings
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params
from stages.lib.training import (
    head, input_pipeline, tail, temperature, tensorboard_log)

STEPS = 32    # per call of TensorFlow: same result in 2/3 of the time
VALIDATION_BATCH = 1024


def fit(model, given, data, validation, options):
    """Train the head `model` in place; keep its best epoch.

    Args:
        model: `head.build`.
        given: `params.Train`.
        data: list of views of train, float32 (n, d), and one-hot labels.
        validation: (x, y), float32 (n, d) and one-hot (n, classes).
        options: of Keras' `fit`.

    Returns:
        The history, name -> a value for each epoch.
    """
    epoch = input_pipeline.steps(data[1], given.batch_size)
    rate = given.learning_rate
    if given.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate, given.epochs * epoch)
    model.compile(head.optimizer(given.optimizer, rate),
                  head.loss(model, given.label_smoothing), ["accuracy"],
                  steps_per_execution=STEPS)
    best = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=given.patience,
        restore_best_weights=True)
    history = model.fit(
        input_pipeline.shuffled(*data, given.batch_size, given.seed),
        steps_per_epoch=epoch, epochs=given.epochs,
        validation_data=validation,
        validation_batch_size=VALIDATION_BATCH, verbose=keras_runtime.VERBOSE,
        **{**options, "callbacks": [best, *options["callbacks"]]}).history
    head.check_finite(history)
    model.set_weights(best.best_weights)
    return history


def fit_tail(given, key, classes, data, validation, options):
    """Train the head on the frozen tail's output, then tail and head.

    Args:
        given: `params.Params`.
        key: the manifest's cache key; its `cut` divides the backbone.
        classes: number of classes.
        data, validation, options: as `fit`; features are maps (n, h, w, c).

    Returns:
        The trained model, the history of the head as `fit` returns it, and
        for each epoch of the tail a dictionary with the same names.
    """
    cut, base = key["cut"], backbone.build(given.backbone, key["side"])
    progress = tail.Progress(
        train=given.train.model_dump(), tail=given.tail.model_dump(),
        backbone=backbone.digest(base), made=manifest.read(),
        views=given.extract.views, labels=[
            hashlib.sha256(labels.tobytes()).hexdigest()
            for labels in (data[1], validation[1])])
    behind = backbone.tail(base, cut)
    if progress.resumable:
        top = head.build(given.train, np.zeros((1, *behind.output_shape[1:])),
                         classes)
        model = tail.join(base, cut, top)
    else:
        print("train: the head, on the frozen tail's output", flush=True)
        behind.trainable = False
        vectors = [head.outputs(behind, x, "frozen tail")
                   for x in (data[0][0], validation[0])]
        behind.trainable = True
        top = head.build(given.train, vectors[0], classes)
        history = fit(top, given.train, ([vectors[0]], data[1]),
                      (vectors[1], validation[1]), options)
        model = tail.join(base, cut, top)
        progress.begin(model, history)
    print("train: tail and head", flush=True)
    tail.train(model, given, data, validation, options, progress)
    return model, progress.head_history, progress.history


def labelled(given, classes):
    """Return the features and one-hot labels of train and validation.

    Args:
        given: `params.Params`.
        classes: number of classes.

    Returns:
        (views, labels) of train, (x, labels) of validation, and the labels of
        train, integer (n,).  Vectors are float32 in memory, maps stay on
        disk.
    """
    plain, y = manifest.labelled("train")
    views = [plain] + [manifest.features(f"views/{view}")
                       for view in given.extract.views[1:]]
    x, y_validation = manifest.labelled("validation")
    if plain.ndim == 2:
        views = [np.array(view, "float32") for view in views]
        x = np.array(x, "float32")
    one_hot = np.eye(classes, dtype="float32")
    return (views, one_hot[y]), (x, one_hot[y_validation]), y


def class_weight(labels, classes):
    """Return class -> weight, in inverse ratio to the number of images."""
    from sklearn.utils.class_weight import compute_class_weight
    return dict(enumerate(compute_class_weight(
        "balanced", classes=np.arange(classes), y=labels)))


def write(model, of_head, of_tail, found):
    """Write the model and the history; print the best epoch.

    Args:
        model, of_head, of_tail: as `fit_tail` returns them.
        found: the temperature of the model.
    """
    rows = [["head", *values] for values in zip(
        *(of_head[name] for name in files.HISTORY))]
    rows += [["tail", *(epoch[name] for name in files.HISTORY)]
             for epoch in of_tail]
    files.write_csv("results/history.csv", ["epoch", "part", *files.HISTORY],
                    ([k, *row] for k, row in enumerate(rows, start=1)))
    keras_runtime.save_model(model, files.HEAD,
                             **{temperature.ATTRIBUTE: str(found)})
    best = int(np.argmax([row[2] for row in rows]))
    print(f"train: best epoch {best + 1} of {len(rows)} ({rows[best][0]}): "
          f"validation accuracy {rows[best][2]:.4f}; its logits are divided "
          f"by {found:g}, the temperature")


def main():
    """Train, then write the model of the best epoch and the history."""
    given, described = params.read(), manifest.read()
    key, classes = described["key"], len(described["class_names"])
    data, validation, labels = labelled(given, classes)
    keras_runtime.reset(given.train.seed)
    options = {}
    if given.train.class_weights == "balanced":
        options["class_weight"] = class_weight(labels, classes)
    resumed, start = os.path.exists(tail.PROGRESS), time.monotonic()
    with tensorboard_log.callback("train") as log:
        options["callbacks"] = [log]
        if key["cut"] == cuts.TOP:
            model = head.build(given.train, data[0][0], classes)
            of_head, of_tail = fit(model, given.train, data, validation,
                                   options), []
        else:
            model, of_head, of_tail = fit_tail(
                given, key, classes, data, validation, options)
        found = head.calibrate(model, *validation)
    seconds = time.monotonic() - start
    write(model, of_head, of_tail, found)
    if not resumed:
        timings.record(files.digest(files.HEAD, "sha256"), seconds)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tail.PROGRESS)


if __name__ == "__main__":
    stage.run(main)
