#!/usr/bin/env python3
"""TensorFlow and Keras as all stages use them: quiet and deterministic."""
import gc
import io
import os
import sys
import warnings

import h5py

from stages.lib.common import files

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

gc.disable()    # the import makes a million objects and no garbage: 1/3 faster
import tensorflow as tf  # noqa: E402
from tensorflow import keras  # noqa: E402
gc.freeze()
gc.enable()


def threads():
    """Return the number of threads of this process; None: not on Linux."""
    tasks = "/proc/self/task"
    return len(os.listdir(tasks)) if os.path.isdir(tasks) else None


IDLE_THREADS = threads()    # before TensorFlow starts its own
VERBOSE = 1 if sys.stderr.isatty() else 0   # Keras' own progress bar
tf.get_logger().setLevel("ERROR")


def reset(seed):
    """Clear Keras' session, seed all generators, make operations repeatable.

    Layer names and the bytes of an `.h5` file depend on what was built
    earlier in the same process; after this call they do not.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def save_model(model, path, **attributes):
    """Write `model` to `path` (HDF5), completely or not at all.

    `attributes` are added to the file, each a string or a list of strings.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an "
                                "HDF5 file")    # the task requires it
        model.save(file)
        for name, value in attributes.items():
            file.attrs[name] = value
    with files.replacing(path) as out:
        out.write(buffer.getbuffer())


def load_model(path):
    """Return the Keras model in `path`, not compiled.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise files.no_model(path, error) from error
