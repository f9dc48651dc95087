#!/usr/bin/env python3
"""Train a ConvNet from scratch, on the images that the backbone sees.

A stage of compare/dvc.yaml, to compare transfer learning with.

In:  data/resized/{split}_x.npy   uint8 (n, s, s, 3), 0..255
     data/prepared/{split}_y.npy  uint8 or int64 (n,)
     data/prepared/dataset.json   class names
     compare/params.yaml
Out: compare/models/convnet.h5    float32 (n, side, side, 3), 0..255 -> classes
     compare/models/trunk.h5      its weights without top, for a backbone
     compare/results/convnet.json  scores of validation and test
     compare/results/history.csv, history.png  accuracy and loss by epoch
     logs/convnet/<time>/         TensorBoard, not tracked
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import time

import numpy as np

from stages.lib.backbone import simple_cnn
from stages.lib.common import (
    arrays, errors, files, keras_runtime, seals, stage, timings)
from stages.lib.common.keras_runtime import keras
from stages.lib.images import rescaling
from stages.lib.params import compare, params
from stages.lib.results import charts, scores
from stages.lib.training import head, input_pipeline, tensorboard_log

BATCH = 256    # of scaling and validation
MODEL = "compare/models/convnet.h5"
TRUNK = "compare/models/trunk.h5"


def labelled(split, side):
    """Return a split's images, uint8 (n, side, side, 3), and labels (n,).

    Scaled images are kept in memory.

    Raises:
        ArtefactError: missing, damaged, or of different runs.
    """
    seals.check_order("prepare", "resize")
    seals.check("resize", f"data/resized/{split}_x.npy")
    seals.check("prepare", f"data/prepared/{split}_y.npy")
    images = arrays.open_array(f"data/resized/{split}_x.npy", ndim=4)
    labels = arrays.open_array(f"data/prepared/{split}_y.npy", ndim=1)
    if len(images) != len(labels):
        raise errors.ArtefactError(
            f"data/resized/{split}_x.npy has {len(images)} rows, "
            f"data/prepared/{split}_y.npy {len(labels)}; run `dvc repro`")
    if images.shape[1] == side:
        return images, labels
    scaled = np.empty((len(images), side, side, 3), np.uint8)
    for k in range(0, len(images), BATCH):
        scaled[k:k + BATCH] = rescaling.rescale(images[k:k + BATCH], side)
    return scaled, labels


def build(side, classes):
    """Return the whole network, and its trunk, which shares its layers.

    Args:
        side: pixels, height and width of the images.
        classes: number of outputs.

    Returns:
        keras.Model, float32 (n, side, side, 3), 0..255 -> probabilities
        (n, classes); `SimpleCNN`.
    """
    trunk = simple_cnn.SimpleCNN(input_shape=(side, side, 3))
    pixels = keras.Input((side, side, 3), name="pixels")
    features = trunk.call(simple_cnn.preprocess_input(pixels))
    output = keras.layers.Dense(classes, activation="softmax", name="output")
    return keras.Model(pixels, output(features), name="convnet"), trunk


def augmented(model, given):
    """Return `model` behind layers that augment images in training.

    Args:
        given: `compare.Convnet`.

    Keras' preprocessing layers do not change images in inference.  They are
    not part of `model`, which is what is saved.
    """
    pixels = keras.Input(model.input_shape[1:])
    tensor = pixels
    if given.flip:
        tensor = keras.layers.RandomFlip("horizontal")(tensor)
    if given.shift:
        tensor = keras.layers.RandomTranslation(given.shift, given.shift)(
            tensor)
    if given.zoom:
        tensor = keras.layers.RandomZoom((-given.zoom, given.zoom))(tensor)
    return keras.Model(pixels, model(tensor))


def fit(model, given, data, validation, callbacks):
    """Train `model` in place, keep its best epoch; return the history.

    Args:
        given: `compare.Convnet`.
        data, validation: images uint8 and labels one-hot.

    Raises:
        TrainingError: the loss is not finite.
    """
    epoch = input_pipeline.steps(data[1], given.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        given.learning_rate, given.epochs * epoch)
    best = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=given.patience,
        restore_best_weights=True)
    whole = augmented(model, given)
    whole.compile(keras.optimizers.Adam(rate), head.loss(model), ["accuracy"])
    history = whole.fit(
        input_pipeline.shuffled([data[0]], data[1], given.batch_size,
                                given.seed),
        steps_per_epoch=epoch, epochs=given.epochs,
        validation_data=validation, validation_batch_size=BATCH,
        verbose=keras_runtime.VERBOSE, callbacks=[best, *callbacks]).history
    head.check_finite(history, "convnet.learning_rate")
    whole.set_weights(best.best_weights)
    return history


def keep_history(history):
    """Write `history`, lists of values by name, as a table and a picture."""
    rows = zip(*(history[name] for name in files.HISTORY))
    files.write_csv("compare/results/history.csv", ["epoch", *files.HISTORY],
                    ([k, *row] for k, row in enumerate(rows, start=1)))
    charts.history(history, "compare/results/history.png")


def main():
    """Train, keep the best epoch, score it."""
    given = params.read(compare.Compare, "compare").convnet
    seals.check("prepare", "data/prepared/dataset.json")
    names = files.read_json("data/prepared/dataset.json")["class_names"]
    one_hot = np.eye(len(names), dtype="float32")
    splits = {split: labelled(split, given.side) for split in files.SPLITS}
    data, validation = [
        (splits[split][0], one_hot[splits[split][1]])
        for split in ("train", "validation")]
    keras_runtime.reset(given.seed)
    model, trunk = build(given.side, len(names))
    start = time.monotonic()
    with tensorboard_log.callback("convnet") as log:
        history = fit(model, given, data, validation, [log])
    seconds = time.monotonic() - start
    keep_history(history)
    metrics = {}
    for split in ("validation", "test"):
        x, labels = splits[split]
        metrics[split] = scores.scores(head.probabilities(model, x), labels)
    files.write_json("compare/results/convnet.json", metrics)
    keras_runtime.save_model(trunk, TRUNK)
    keras_runtime.save_model(model, MODEL, class_names=names)
    timings.record(files.digest(MODEL, "sha256"), seconds)
    best = int(np.argmax(history["val_accuracy"]))
    print(f"convnet: best epoch {best + 1} of {len(history['loss'])}: "
          f"validation accuracy {history['val_accuracy'][best]:.4f}")


if __name__ == "__main__":
    stage.run(main)
