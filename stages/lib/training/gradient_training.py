#!/usr/bin/env python3
"""Training by gradients: the head, then the tail if there is one."""
import hashlib

import numpy as np
import psutil

from stages.lib.backbone import backbone, cuts, weights
from stages.lib.common import files, kept_table, keras_runtime, manifest
from stages.lib.common.keras_runtime import keras
from stages.lib.training import head, input_pipeline, tail, temperature

STEPS = 32    # per call of TensorFlow: same result in 2/3 of the time
VALIDATION_BATCH = 1024


def fit(model, given, data, validation, options):
    """Train the head `model` in place; keep its best epoch.

    Args:
        model: `head.build`.
        given: `params.Train`.
        data: list of views of train, float (n, d), and one-hot labels.
        validation: (x, y), float (n, d) and one-hot (n, classes).
        options: of Keras' `fit`.

    Returns:
        The history, name -> a value for each epoch.
    """
    epoch = input_pipeline.steps(data[1], given.batch_size)
    rate = given.learning_rate
    if given.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate, given.epochs * epoch)
    model.compile(head.optimizer(given.optimizer, rate, given.weight_decay),
                  head.loss(model, given.label_smoothing), ["accuracy"],
                  steps_per_execution=STEPS)
    best = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=given.patience,
        restore_best_weights=True)
    history = model.fit(
        input_pipeline.shuffled(*data, given.batch_size, given.seed),
        steps_per_epoch=epoch, epochs=given.epochs,
        validation_data=input_pipeline.in_order(
            *validation, VALIDATION_BATCH),
        validation_steps=input_pipeline.steps(validation[1],
                                              VALIDATION_BATCH),
        verbose=keras_runtime.VERBOSE,
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
    if weights.are_random(given.backbone):    # which its own seed drew
        keras.utils.set_random_seed(given.train.seed)
    progress = tail.Progress(
        train=given.train.model_dump(), tail=given.tail.model_dump(),
        backbone=backbone.digest(base), made=manifest.read(),
        code=kept_table.code(*(module.__name__ for module in (
            head, input_pipeline, tail)), __name__),
        views=given.extract.views, labels=[
            hashlib.sha256(one.labels.tobytes()).hexdigest()
            for one in (data[1], validation[1])])
    behind = backbone.tail(base, cut)
    behind.trainable = True    # a saved model can have frozen layers
    if progress.resumable:
        top = head.build(given.train, np.zeros((1, *behind.output_shape[1:])),
                         classes)
        model = tail.join(base, cut, top)
    else:
        print("train: the head, on the frozen tail's output", flush=True)
        vectors = [head.outputs(behind, x, "frozen tail")
                   for x in (data[0][0], validation[0])]
        top = head.build(given.train, vectors[0], classes)
        history = fit(top, given.train, ([vectors[0]], data[1]),
                      (vectors[1], validation[1]), options)
        model = tail.join(base, cut, top)
        progress.begin(model, history)
    print("train: tail and head", flush=True)
    tail.train(model, given, data, validation, options, progress)
    return model, progress.head_history, progress.history


def in_memory(arrays):
    """Return copies of these arrays, float32; themselves if too large.

    Args:
        arrays: float (n, d), memory-mapped.
    """
    need = sum(4 * array.size for array in arrays)
    free = psutil.virtual_memory().available
    if need > free:
        print("train: reads the features from disk: they need "
              f"{files.readable(need)} of memory, {files.readable(free)} are "
              "free", flush=True)
        return arrays
    return [np.array(array, "float32") for array in arrays]


def train(given, key, data, validation, by_class, log):
    """Train the head and, if there is a cut, the tail, by gradients.

    Args:
        given: `params.Params`.
        key: the manifest's cache key.
        data: views of train and labels, integer (n,).
        validation: (x, labels), as one view of train.
        by_class: weight of an image of each class, float (classes,).
        log: callback of TensorBoard.

    Returns:
        The model, calibrated; the rows of the history; and the attributes of
        the model's file.
    """
    views, (x, y), classes = data[0], validation, len(by_class)
    if x.ndim == 2:    # maps stay on disk
        *views, x = in_memory([*views, x])
    data = views, input_pipeline.OneHot(data[1], classes)
    validation = x, input_pipeline.OneHot(y, classes)
    options = {"callbacks": [log]}
    if given.train.class_weights != "none":
        options["class_weight"] = dict(enumerate(by_class))
    if key["cut"] == cuts.TOP:
        model = head.build(given.train, views[0], classes)
        of_head, of_tail = fit(model, given.train, data, validation,
                               options), []
    else:
        model, of_head, of_tail = fit_tail(
            given, key, classes, data, validation, options)
    rows = [["head", *values] for values in zip(
        *(of_head[name] for name in files.HISTORY))]
    rows += [["tail", *(epoch[name] for name in files.HISTORY)]
             for epoch in of_tail]
    return model, rows, {
        temperature.ATTRIBUTE: str(head.calibrate(model, x, y))}
