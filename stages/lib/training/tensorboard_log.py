#!/usr/bin/env python3
"""The TensorBoard log of a training, under logs/."""
import contextlib
import time

from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras, tf


@contextlib.contextmanager
def callback(stage):
    """Yield the callback that logs a training to logs/<stage>/<time>/.

    Raises:
        StorageError: the log cannot be written.
    """
    log = time.strftime(f"logs/{stage}/%Y%m%d-%H%M%S")
    try:
        yield keras.callbacks.TensorBoard(log, write_graph=False)
    except tf.errors.OpError as error:
        if log not in str(error):
            raise
        reason = error.message.splitlines()[0].split("; ")[-1]
        raise errors.StorageError(
            f"{log}: TensorBoard's log cannot be written "
            f"({reason}); free disk space, then run again") from error


def write(log, model, history):
    """Write a training without epochs to `log`, the callback.

    Args:
        log: what `callback` yields.
        model: keras.Model.
        history: name, as Keras' `fit` returns it, -> a value for each step.
    """
    log.set_model(model)
    log.on_train_begin()
    for step, values in enumerate(zip(*history.values())):
        log.on_epoch_end(step, dict(zip(history, values)))
    log.on_train_end()
