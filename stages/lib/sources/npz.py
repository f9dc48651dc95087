#!/usr/bin/env python3
"""A source that is an `.npz` file, as numpy.savez and Keras write them."""
import numpy as np

from stages.lib.common import errors
from stages.lib.sources import dataset

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load(path):
    """Return the `dataset.Arrays` in `path`, not checked.

    The file contains the arrays x_train, y_train, x_test and y_test, and
    optionally class_names, an array of strings.

    Raises:
        SourceError: missing, truncated, pickled, or an array is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:   # a damaged zip or header raises anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in reason:
            reason = "it contains pickled objects; save plain arrays"
        raise errors.SourceError(
            f"{path}: no arrays can be read from it ({reason})") from error
    for name in NAMES:
        if name not in arrays:
            raise errors.SourceError(
                f"{path}: no array {name}; an .npz source contains "
                f"{', '.join(NAMES)}")
    names = arrays.get("class_names")
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        raise errors.SourceError(f"{path}: class_names: {names.dtype}, shape "
                                 f"{names.shape}; must be strings, (classes,)")
    return dataset.Arrays(*(arrays[name] for name in NAMES),
                          None if names is None else names.tolist())
