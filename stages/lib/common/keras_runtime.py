#!/usr/bin/env python3
"""TensorFlow and Keras as all stages use them: quiet and deterministic."""
import gc
import io
import os
import platform
import sys
import warnings

import h5py

from stages.lib.common import errors, files, model_seal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# `fuse` compares in another process, which needs memory of the GPU, too.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

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
ITEMS = 4000    # of a list in one attribute; HDF5 allows 64 KB, 16 B an item
tf.get_logger().setLevel("ERROR")
# A GPU would round the factors of each product to 11 bits, and the features
# of two machines would differ by more than the rounding of float32.
tf.config.experimental.enable_tensor_float_32_execution(False)


def reset(seed):
    """Clear Keras' session, seed all generators, make operations repeatable.

    Layer names and the bytes of an `.h5` file depend on what was built
    earlier in the same process; after this call they do not.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def untuned():
    """Return options of a tf.data.Dataset that turn its autotuning off.

    The thread that tunes sleeps longer and longer, and at times it is not
    woken when the dataset is deleted: `fit`, all done, then waited for up to
    as long as it had run (a quarter of all runs, see docs/log/speed.md).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def save_model(model, path, edit=None, **attributes):
    """Write `model` to `path` (HDF5), completely or not at all.

    `attributes` are added to the file, each a string or a list of strings.  A
    list that is too long for one attribute is divided as Keras does it, into
    `name0`, `name1`, …  The file is sealed; with a Lambda layer, which is
    bytecode, it names the version of Python that can run it.

    `edit` is called with the open h5py.File before it is sealed.
    """
    attributes[model_seal.ATTRIBUTE] = model_seal.BLANK
    if any(isinstance(layer, keras.layers.Lambda) for layer in model.layers):
        attributes["python"] = python_version()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an "
                                "HDF5 file")    # the task requires it
        model.save(file)
        if edit:
            edit(file)
        for name, value in attributes.items():
            if isinstance(value, str) or len(value) <= ITEMS:
                file.attrs[name] = value
                continue
            for part, first in enumerate(range(0, len(value), ITEMS)):
                file.attrs[f"{name}{part}"] = value[first:first + ITEMS]
    with files.replacing(path) as out:
        out.write(model_seal.add(buffer.getvalue()))


def load_model(path, compiled=False):
    """Return the Keras model in `path`, by default not compiled.

    Raises:
        ArtefactError: missing or damaged.
        PipelineError: as `check_python`.
    """
    model_seal.check(path)
    check_python(path)
    try:
        return keras.models.load_model(path, compile=compiled)
    except (OSError, ValueError) as error:
        raise files.no_model(path, error) from error


def python_version():
    """Return major and minor version of the running Python, "3.9"."""
    return ".".join(platform.python_version_tuple()[:2])


def check_python(path):
    """Raise a PipelineError if the model `path` needs another Python.

    Raises:
        ArtefactError: damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            needed = file.attrs.get("python", python_version())
    except OSError as error:
        raise files.no_model(path, error) from error
    if needed != python_version():
        raise errors.PipelineError(
            f"{path}: it was written under Python {needed}, and its Lambda "
            f"layer cannot be loaded under Python {python_version()}; use "
            f"Python {needed}, or run `dvc repro` under this one")


def class_names(path):
    """Return the class names in the model `path`, a list of str; or None.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            found, part = file.attrs.get("class_names"), 0
            while f"class_names{part}" in file.attrs:
                found = [*(found or ()), *file.attrs[f"class_names{part}"]]
                part += 1
    except OSError as error:
        raise files.no_model(path, error) from error
    return None if found is None else [str(name) for name in found]
