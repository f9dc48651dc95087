#!/usr/bin/env python3
"""A source that is an `.npz` file, as numpy.savez and Keras write them."""
import zipfile
import zlib

import numpy as np

from stages.lib.dataset import Dataset
from stages.lib.errors import SourceError

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load(path):
    """Return the `Dataset` in `path`, not checked.

    Needs the arrays x_train, y_train, x_test and y_test; class_names, an
    array of strings, may stand beside them.  Otherwise classes are named
    "0", "1", …

    Raises:
        SourceError: missing, truncated, pickled, or an array is not there.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = set(NAMES) - set(getattr(file, "files", ()))
            if missing:
                raise SourceError(f"{path}: no array {min(missing)}; an .npz "
                                  f"source holds {', '.join(NAMES)}")
            arrays = [file[name] for name in NAMES]
            names = ([str(name) for name in file["class_names"]]
                     if "class_names" in file.files else None)
    except (OSError, EOFError, ValueError, AttributeError,
            zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is empty"
        if "pickle" in reason:
            reason = "it holds pickled objects; save plain arrays"
        raise SourceError(f"{path}: no arrays can be read from it ({reason})"
                          ) from error
    labels = arrays[1]
    if names is None:
        whole = labels.dtype.kind in "iu" and labels.size
        names = [str(k) for k in range(labels.max() + 1 if whole else 0)]
    return Dataset(*arrays, names)
