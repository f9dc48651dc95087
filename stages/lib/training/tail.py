#!/usr/bin/env python3
"""Train the tail of the backbone and the head together, on cached maps."""
import hashlib
import json
import os

import numpy as np

from stages.lib.backbone import backbone
from stages.lib.common import files, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.training import head, input_pipeline

PROGRESS = "models/scratch/progress.npz"


def join(model, cut, top):
    """Return maps -> tail -> head as one flat model.

    Args:
        model: `backbone.build`.
        cut: name of the last frozen layer.
        top: a head for the output of the tail.
    """
    behind = backbone.tail(model, cut)
    maps = keras.Input(behind.input_shape[1:], name="features")
    tensor = behind.call(maps)
    for layer in top.layers[1:]:
        tensor = layer(tensor)
    return keras.Model(maps, tensor, name="tail_and_head")


def schedule(tail, total):
    """Return the learning rate over `total` steps: up from 0, then cosine."""
    warm = int(tail.warm_up * total)
    if not warm:
        return keras.optimizers.schedules.CosineDecay(tail.learning_rate,
                                                      total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warm), warmup_target=tail.learning_rate,
        warmup_steps=warm)


def train(model, given, data, validation, options, progress):
    """Train `model` in place; it gets the weights of its best epoch.

    Args:
        model: `join`.
        given: `params.Params`.
        data: views (n, h, w, c) and one-hot labels, for `shuffled`.
        validation: one view and one-hot labels.
        options: of Keras' `fit`.
        progress: `Progress`, with the epochs that are done.

    Raises:
        TrainingError: the loss is not finite.
    """
    tail = given.tail
    epoch = input_pipeline.steps(data[1], tail.batch_size)
    for layer in model.layers:
        if (isinstance(layer, keras.layers.BatchNormalization)
                and tail.batch_norm == "inference"):
            layer.trainable = False
    model.compile(
        head.optimizer(given.train.optimizer,
                       schedule(tail, max(1, tail.epochs * epoch)),
                       given.train.weight_decay),
        head.loss(model, given.train.label_smoothing), ["accuracy"])
    model.optimizer.build(model.trainable_variables)
    progress.restore(model)
    head_epochs = len(progress.head_history["loss"])    # in TensorBoard, too
    for number in range(progress.epochs, tail.epochs):
        if progress.epochs - progress.best_epoch >= given.train.patience:
            break
        keras.utils.set_random_seed((given.train.seed + number) % 2**32)
        model.train_function = None    # so that dropout uses this seed
        done = model.fit(
            input_pipeline.shuffled(*data, tail.batch_size, given.train.seed,
                                    number),
            steps_per_epoch=epoch,
            initial_epoch=head_epochs + number,
            epochs=head_epochs + number + 1,
            validation_data=input_pipeline.in_order(*validation,
                                                    tail.batch_size),
            verbose=keras_runtime.VERBOSE, **options).history
        head.check_finite(done)
        progress.note(model, {name: values[0]
                              for name, values in done.items()})
    model.set_weights(progress.best)


class Progress:
    """The state of the training, saved after each epoch."""

    def __init__(self, **key):
        """Read the state that a training with the same `key` left.

        `key` consists of plain values.
        """
        text = json.dumps(key, sort_keys=True, default=str)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.history, self.head_history, self.best = [], [], None
        self._state = None
        if not os.path.exists(PROGRESS):
            return
        try:
            with np.load(PROGRESS, allow_pickle=False) as file:
                if str(file["key"]) != self.key:
                    return
                self.history, self.head_history = json.loads(
                    str(file["history"]))
                self.best, self._state = [
                    [file[f"{name}_{k}"] for k in range(file[name])]
                    for name in ("best", "state")]
        except Exception as error:   # a damaged zip raises anything
            print(f"train: {PROGRESS}: damaged ({error}); starts again")
            self.history, self._state = [], None

    @property
    def resumable(self):
        """Return whether the training can resume."""
        return self._state is not None

    @property
    def epochs(self):
        """Return the number of finished epochs of the tail."""
        return len(self.history)

    @property
    def best_epoch(self):
        """Return the number of the best epoch; 0 is the head alone."""
        scores = [max(self.head_history["val_accuracy"])] + [
            epoch["val_accuracy"] for epoch in self.history]
        return int(np.argmax(scores))

    def begin(self, model, head_history):
        """Keep `model`, with its trained head, as the best so far."""
        self.head_history = {name: [float(value) for value in values]
                             for name, values in head_history.items()}
        self.best = model.get_weights()

    def restore(self, model):
        """Restore weights and optimizer of the last finished epoch."""
        if not self.resumable:
            return
        model.set_weights(self._state[:len(model.weights)])
        for variable, value in zip(model.optimizer.variables,
                                   self._state[len(model.weights):]):
            variable.assign(value)
        print(f"train: resumes after epoch {self.epochs} of the tail",
              flush=True)

    def note(self, model, epoch):
        """Save a finished epoch, and its weights if they are the best."""
        self.history.append({name: float(value)
                             for name, value in epoch.items()})
        if self.best_epoch == self.epochs:
            self.best = model.get_weights()
        if hasattr(model.optimizer, "_u_product"):
            return    # Nadam does not expose all of its state
        state = model.get_weights() + [
            variable.numpy() for variable in model.optimizer.variables]
        arrays = {f"{name}_{k}": value for name, values in [
            ("best", self.best), ("state", state)]
            for k, value in enumerate(values)}
        with files.replacing(PROGRESS) as file:
            np.savez(file, key=self.key, best=len(self.best),
                     state=len(state), history=json.dumps(
                         [self.history, self.head_history]), **arrays)
