#!/usr/bin/env python3
"""Train the head on the cached features, then the tail; keep the best epoch.

In:  features/{train,validation}_x.npy       float32 or float16, (n, d) or maps
     features/views/{view}_x.npy             the same, of further views
     data/prepared/{train,validation}_y.npy  uint8 or int64 (n,)
     features/manifest.json                  class names
     backbone.weights                        for the tail, if there is a cut
Out: models/head.h5       float32 features -> (n, classes)
     results/history.csv  accuracy and loss of train and validation by epoch
     logs/train/<time>/   TensorBoard, not tracked
     models/scratch/      finished epochs of the tail, not tracked
"""
import contextlib
import hashlib
import os
import time

import numpy as np

from stages.lib.backbone import backbone, cuts
from stages.lib.common import files, keras_runtime, manifest, stage, timings
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params
from stages.lib.training import head, input_pipeline, tail, tensorboard_log

STEPS = 32    # per call of TensorFlow: the same result in 2/3 of the time
VALIDATED = 1024    # images a step of validation


def fit(model, given, data, validation, options):
    """Train the head `model` in place, keep its best epoch.

    Args:
        model: `head.build`.
        given: `params.Train`.
        data: views of the train split, float32 (n, d), and one-hot labels.
        validation: (x, y), float32 (n, d) and one-hot (n, classes).
        options: of Keras' `fit`.

    Returns:
        The history, a list of values by name.
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
        input_pipeline.shuffled(*data, given.batch_size, given.seed), steps_per_epoch=epoch,
        epochs=given.epochs, validation_data=validation,
        validation_batch_size=VALIDATED, verbose=keras_runtime.VERBOSE,
        **{**options, "callbacks": [best, *options["callbacks"]]}).history
    head.check_finite(history)
    model.set_weights(best.best_weights)
    return history


def fit_all(given, names, data, validation, options):
    """Train the head and, if there is a cut, tail and head.

    Args:
        given: `params.Params`.
        names: of the classes.
        data: views of the train split and one-hot labels.
        validation: x and one-hot y.
        options: of Keras' `fit`.

    Returns:
        The trained model, the head's history as `fit` returns it, and of
        each epoch of the tail a dictionary of the same names.
    """
    made = manifest.read()
    if made["key"]["cut"] == cuts.TOP:
        model = head.build(given.train, data[0][0], len(names))
        return model, fit(model, given.train, data, validation, options), []
    cut = made["key"]["cut"]
    base = backbone.build(given.backbone, made["key"]["side"])
    progress = tail.Progress(
        train=given.train.model_dump(), tail=given.tail.model_dump(),
        backbone=backbone.digest(base), made=made,
        views=given.extract.views, labels=[
            hashlib.sha256(labels.tobytes()).hexdigest()
            for labels in (data[1], validation[1])])
    behind = backbone.tail(base, cut)
    if progress.begun:
        top = head.build(given.train, np.zeros((1, *behind.output_shape[1:])),
                         len(names))
        model = tail.join(base, cut, top)
    else:
        print("train: the head, on the frozen tail's output", flush=True)
        behind.trainable = False
        vectors, of_validation = [
            head.outputs(behind, x, "frozen tail")
            for x in (data[0][0], validation[0])]
        behind.trainable = True
        top = head.build(given.train, vectors, len(names))
        history = fit(top, given.train, ([vectors], data[1]),
                      (of_validation, validation[1]), options)
        model = tail.join(base, cut, top)
        progress.begin(model, history)
    print("train: tail and head", flush=True)
    tail.train(model, given, data, validation, options, progress)
    return model, progress.head_history, progress.history


def main():
    """Write the model of the best epoch and the history."""
    given = params.read()
    names = manifest.read()["class_names"]
    plain, labels = manifest.labelled("train")
    views = [plain] + [manifest.features(f"views/{view}")
                       for view in given.extract.views[1:]]
    validation, of_validation = manifest.labelled("validation")
    if plain.ndim == 2:    # vectors fit into memory, maps need not
        views, validation = [np.array(x, "float32") for x in views
                             ], np.array(validation, "float32")
    one_hot = np.eye(len(names), dtype="float32")
    keras_runtime.reset(given.train.seed)
    options = {}
    if given.train.class_weights == "balanced":
        from sklearn.utils.class_weight import compute_class_weight
        options["class_weight"] = dict(enumerate(compute_class_weight(
            "balanced", classes=np.arange(len(names)), y=labels)))
    resumed, began = os.path.exists(tail.PROGRESS), time.monotonic()
    with tensorboard_log.callback("train") as log:
        model, of_head, of_tail = fit_all(
            given, names, (views, one_hot[labels]),
            (validation, one_hot[of_validation]),
            {**options, "callbacks": [log]})
    seconds = time.monotonic() - began
    rows = [["head", *values] for values in zip(
        *(of_head[name] for name in head.HISTORY))]
    rows += [["tail", *(epoch[name] for name in head.HISTORY)]
             for epoch in of_tail]
    files.write_csv("results/history.csv", ["epoch", "part", *head.HISTORY],
                    ([k, *row] for k, row in enumerate(rows, start=1)))
    keras_runtime.save_model(model, files.HEAD)
    if not resumed:
        timings.record(files.digest(files.HEAD, "sha256"), seconds)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(tail.PROGRESS)
    best = int(np.argmax([row[2] for row in rows]))
    print(f"train: best epoch {best + 1} of {len(rows)} ({rows[best][0]}): "
          f"validation accuracy {rows[best][2]:.4f}")


if __name__ == "__main__":
    stage.run(main)
