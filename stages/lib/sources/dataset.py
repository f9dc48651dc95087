#!/usr/bin/env python3
"""The data that every source returns, and their validation."""
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from stages.lib.common import digests, errors


class Split(NamedTuple):
    """A split, row by row.

    Attributes:
        x: uint8 (n, h, w, 3); (n, 0, 0, 3) if the images are files.
        y: class, uint8 or int64 (n,).
        rows: for each row a dictionary: "image", "class", and for a file
            "sha256" and "jpeg", whether TensorFlow decodes it.
        digests: those of the pixels of each row, uint8 (n, 16).
    """

    x: np.ndarray
    y: np.ndarray
    rows: List[dict]
    digests: np.ndarray


class Dataset(NamedTuple):
    """The splits of a source by name, class names, rejected files."""

    splits: Dict[str, Split]
    class_names: List[str]
    rejected: list


class Arrays(NamedTuple):
    """Images uint8 (n, h, w, 3), RGB; labels integer (n,), 0..k-1.

    Without class names, classes are named "0", "1", …
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: Optional[List[str]]


def check(given, path):
    """Return `Arrays` with names, and labels in the smallest dtype.

    Raises:
        SourceError: names the array in `path`, what is wrong, how to fix it.
    """
    y_train, y_test = _flatten(given.y_train), _flatten(given.y_test)
    _check_split(given.x_train, y_train, "train", path)
    _check_split(given.x_test, y_test, "test", path)
    if given.x_train.shape[1:] != given.x_test.shape[1:]:
        raise errors.SourceError(
            f"{path}: x_train has images of "
            f"{given.x_train.shape[1:]}, x_test of "
            f"{given.x_test.shape[1:]}: make them equal")
    names = _check_classes(y_train, y_test, given.class_names, path)
    dtype = label_dtype(names)
    return Arrays(given.x_train, y_train.astype(dtype),
                  given.x_test, y_test.astype(dtype), names)


def label_dtype(names):
    """Return the smallest dtype of labels for these classes."""
    return np.uint8 if len(names) <= 256 else np.int64


def from_arrays(given):
    """Return the `Dataset` of checked `Arrays`: splits train and test."""
    names = given.class_names
    splits = {}
    for split, x, y in [("train", given.x_train, given.y_train),
                        ("test", given.x_test, given.y_test)]:
        rows = [{"image": f"x_{split}[{k}]", "class": names[label]}
                for k, label in enumerate(y)]
        splits[split] = Split(x, y, rows, digests.of_all(
            lambda rows, x=x: np.ascontiguousarray(x[rows]), len(x)))
    return Dataset(splits, names, [])


def _check_split(x, y, split, path):
    """Raise a SourceError if images or labels of a split are invalid."""
    if x.dtype != np.uint8:
        raise errors.SourceError(
            f"{path}: x_{split}: dtype {x.dtype}; images must "
            "be uint8, 0..255")
    if x.ndim != 4 or x.shape[3] != 3 or 0 in x.shape[1:]:
        raise errors.SourceError(
            f"{path}: x_{split}: shape {x.shape}; images must "
            "be (n, height, width, 3), RGB")
    if len(x) == 0:
        raise errors.SourceError(f"{path}: x_{split}: the split is empty")
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise errors.SourceError(
            f"{path}: y_{split}: {y.dtype}, shape {y.shape}; "
            "labels must be integers, (n,) or (n, 1)")
    if len(x) != len(y):
        raise errors.SourceError(
            f"{path}: x_{split} has {len(x)} rows, y_{split} "
            f"{len(y)}: each image needs one label")


def _check_classes(y_train, y_test, names, path):
    """Return the class names, or raise a SourceError."""
    present = np.unique(y_train)
    wrong = np.flatnonzero(present != np.arange(len(present)))
    if len(wrong):
        label = int(present[wrong[0]])
        raise errors.SourceError(
            f"{path}: y_train: label {label}, but none {wrong[0]}; number "
            "the classes 0, 1, 2, … without gaps")
    if len(present) < 2:
        raise errors.SourceError(
            f"{path}: y_train: all images are of one class; "
            "at least two are needed")
    if y_test.min() < 0 or y_test.max() >= len(present):
        label = int(y_test.min() if y_test.min() < 0 else y_test.max())
        raise errors.SourceError(
            f"{path}: y_test: label {label}; the labels of "
            f"train are 0..{len(present) - 1}")
    if names is None:
        return [str(k) for k in range(len(present))]
    if len(names) != len(present) or len(set(names)) != len(names):
        raise errors.SourceError(
            f"{path}: class_names: {len(set(names))} different "
            f"names; y_train has {len(present)} classes")
    return list(names)


def _flatten(labels):
    """Return labels (n, 1) as (n,), others unchanged."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    return labels
