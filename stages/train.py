#!/usr/bin/env python3
"""Train the head on the cached features; keep the best epoch.

In:  features/{train,validation}_x.npy       float32 or float16 (n, d)
     features/views/{view}_x.npy             the same, of further views
     data/prepared/{train,validation}_y.npy  uint8 or int64 (n,)
     features/manifest.json                  class names
Out: models/head.h5       float32 (n, d) -> (n, classes)
     results/history.csv  accuracy and loss of train and validation by epoch
     logs/train/<time>/   TensorBoard, not tracked
"""
import time

import numpy as np

from stages.lib import files, head, manifest, params
from stages.lib.errors import StorageError, TrainingError
from stages.lib.feed import feed, steps
from stages.lib.runtime import VERBOSE, keras, save_model, start, tf
from stages.lib.stage import run

HISTORY = ["accuracy", "val_accuracy", "loss", "val_loss"]
STEPS = 32    # per call of TensorFlow: the same result in 2/3 of the time
VALIDATED = 1024    # images a step of validation


def fit(model, train, data, validation, log):
    """Train `model` in place, keep its best epoch, return the history.

    Args:
        model: `head.build`.
        train: `params.Train`.
        data: views of the train split and its labels, as `feed` takes them.
        validation: (x, y), float32 (n, d) and integer (n,).
        log: folder for TensorBoard.

    Raises:
        TrainingError: the loss is not finite.
        StorageError: the log cannot be written.
    """
    epoch = steps(data[1], train.batch_size)
    model.compile(head.optimizer(train, train.epochs * epoch),
                  head.loss(model, one_hot=False), ["accuracy"],
                  steps_per_execution=STEPS)
    best = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=train.epochs,
        restore_best_weights=True)    # keeps them, and never stops early
    try:
        history = model.fit(
            feed(*data, train.batch_size, train.seed), steps_per_epoch=epoch,
            epochs=train.epochs, validation_data=validation,
            validation_batch_size=VALIDATED, verbose=VERBOSE, callbacks=[
                best, keras.callbacks.TensorBoard(log, write_graph=False)]
        ).history
    except tf.errors.OpError as error:
        raise StorageError(f"{log}: TensorBoard's log cannot be written "
                           f"({error.message}); make room, then run again"
                           ) from error
    if not np.isfinite([history["loss"], history["val_loss"]]).all():
        raise TrainingError("the loss is not finite; lower "
                            "train.learning_rate")
    model.set_weights(best.best_weights)
    return history


def in_memory(x, y):
    """Return features and labels, float32 and integer, read from disk."""
    return np.asarray(x, dtype="float32"), np.asarray(y)


def main():
    """Write the head of the best epoch and the history."""
    everything = params.read()
    given = everything.train
    names = manifest.read()["class_names"]
    plain, labels = in_memory(*manifest.labelled("train"))
    views = [plain] + [
        in_memory(manifest.features(f"views/{view}"), labels)[0]
        for view in everything.extract.views[1:]]
    validation = in_memory(*manifest.labelled("validation"))
    start(given.seed)
    model = head.build(given, plain, len(names))
    log = time.strftime("logs/train/%Y%m%d-%H%M%S")
    history = fit(model, given, (views, labels), validation, log)
    files.write_csv(
        "results/history.csv", ["epoch", *HISTORY],
        ([k + 1, *(history[name][k] for name in HISTORY)]
         for k in range(given.epochs)))
    save_model(model, "models/head.h5")
    best = int(np.argmax(history["val_accuracy"]))
    print(f"train: best epoch {best + 1} of {given.epochs}: validation "
          f"accuracy {history['val_accuracy'][best]:.4f}")


if __name__ == "__main__":
    run(main)
