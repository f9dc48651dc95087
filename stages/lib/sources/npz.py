#!/usr/bin/env python3
"""A source that is an `.npz` file, as numpy.savez and Keras write them."""
import glob
import os
import shutil
import tempfile
import zipfile

import numpy as np

from stages.lib.common import errors
from stages.lib.sources import dataset, split_names

CONTENT = ("an .npz source contains x_train and y_train, optionally the same "
           "for val and test, and class_names")
LETTERS = ("x", "y")    # images, labels; in any capitals
LARGE = 1 << 28    # bytes of an array that is not held in memory
BLOCK = 1 << 24    # of it that is unpacked at a time
FOLDER, PART = "data/prepared", ".npy.part"    # where it is unpacked


def load(path):
    """Return the `dataset.Arrays` in `path`, not checked.

    The file contains the arrays x_train and y_train; optionally x_val and
    y_val, x_test and y_test; and class_names, an array of strings.
    `split_names` has other names of the splits.

    Raises:
        SourceError: missing, truncated, pickled, or an array is missing.
    """
    for left in glob.glob(f"{FOLDER}/*{PART}"):    # by a run that was killed
        os.unlink(left)
    try:
        with np.load(path, allow_pickle=False) as file:
            return _arrays(file, path)
    except (OSError, EOFError, ValueError, AttributeError, TypeError,
            zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in reason:
            reason = "it contains pickled objects; save plain arrays"
        raise errors.SourceError(
            f"{path}: no arrays can be read from it ({reason})") from error


def _arrays(file, path):
    """Return the `dataset.Arrays` in the open `file`."""
    found, unknown = _find(file.files, path)
    splits = {}
    for split in sorted({"train", *(split for _, split in found)}):
        for letter in LETTERS:
            if (letter, split) not in found:
                raise errors.SourceError(
                    f"{path}: no array {letter}_{split}; {CONTENT}")
        splits[split] = tuple(_read(file, found[letter, split], path)
                              for letter in LETTERS)
    return dataset.Arrays(splits, _class_names(file, path), tuple(unknown))


def _find(names, path):
    """Return (letter, split) -> name of the array, and the other names.

    Raises:
        SourceError: two arrays are the same, or a name resembles another.
    """
    found, unknown = {}, []
    for name in names:
        letter, _, rest = name.partition("_")
        key = letter.lower(), split_names.find(rest)
        if key[0] not in LETTERS or not key[1]:
            if key[0] in LETTERS:
                split_names.check(rest, path, letter + "_{}", words=False)
            if name != "class_names":
                unknown.append(name)
        elif key in found:
            raise errors.SourceError(
                f"{path}: {found[key]} and {name} are of the same split; "
                "keep one of them")
        else:
            found[key] = name
    return found, unknown


def _read(file, name, path):
    """Return the array `name`, or raise a SourceError that names it.

    A large one is unpacked to a file that is removed with the array.
    """
    member = name if name in file.zip.namelist() else f"{name}.npy"
    try:
        if file.zip.getinfo(member).file_size < LARGE:
            found = file[name]
            if not isinstance(found, np.ndarray):    # the bytes of a file
                raise ValueError("not an array")
            return found
        with file.zip.open(member) as packed, tempfile.NamedTemporaryFile(
                dir=FOLDER, suffix=PART) as unpacked:
            shutil.copyfileobj(packed, unpacked, BLOCK)
            unpacked.flush()
            return np.load(unpacked.name, mmap_mode="r")
    except Exception as error:   # a damaged zip or header raises anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in reason:
            reason = "it contains pickled objects; save a plain array"
        raise errors.SourceError(
            f"{path}: {name}: cannot be read ({reason})") from error


def _class_names(file, path):
    """Return the class names in the open `file`, or None."""
    if "class_names" not in file.files:
        return None
    names = _read(file, "class_names", path)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise errors.SourceError(f"{path}: class_names: {names.dtype}, shape "
                                 f"{names.shape}; must be strings, (classes,)")
    return names.tolist()
