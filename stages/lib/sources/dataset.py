#!/usr/bin/env python3
"""The data that every source returns, and their validation."""
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from stages.lib.common import digests, errors, image_table, text

UNUSABLE = re.compile("[\0\ud800-\udfff]")    # in a class name


class Split(NamedTuple):
    """A split, row by row.

    Attributes:
        x: uint8 (n, h, w, 3), an array or `arrays.Rows`; (n, 0, 0, 3) if
            the images are files.
        y: class, uint8 or int64 (n,).
        rows: which images they are, as `image_table.build` returns it.
        digests: those of the pixels of each row, uint8 (n, 16).
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    digests: np.ndarray


class Dataset(NamedTuple):
    """The data of a source.

    Attributes:
        splits: by name; at least train.
        class_names: in the order of the labels.
        rejected: list of `rejected_files.ListedFile`.
        unknown: names of arrays that are not read.
    """

    splits: Dict[str, Split]
    class_names: List[str]
    rejected: list
    unknown: Tuple[str, ...] = ()


class Arrays(NamedTuple):
    """A source of arrays, not checked.

    Attributes:
        splits: name -> images uint8 (n, h, w, 3), RGB, and labels integer
            (n,) or (n, 1), 0..k-1.
        class_names: k names; None: "0", "1", …
        unknown: names of arrays that are not read.
    """

    splits: Dict[str, Tuple[np.ndarray, np.ndarray]]
    class_names: Optional[List[str]]
    unknown: Tuple[str, ...] = ()


def label_dtype(names):
    """Return the smallest dtype of labels for these classes."""
    return np.uint8 if len(names) <= 256 else np.int64


def from_arrays(given, path):
    """Return the `Dataset` of `Arrays`.

    Raises:
        SourceError: names the array in `path`, what is wrong, how to fix it.
    """
    labels = {split: _flatten(y) for split, (_, y) in given.splits.items()}
    for split, (x, _) in given.splits.items():
        _check_split(x, labels[split], split, path)
    shape = given.splits["train"][0].shape[1:]
    for split, (x, _) in given.splits.items():
        if x.shape[1:] != shape:
            raise errors.SourceError(
                f"{path}: x_train has images of {shape}, x_{split} of "
                f"{x.shape[1:]}: make them equal")
    names = _check_classes(labels, given.class_names, path)
    splits = {}
    for split, (x, _) in given.splits.items():
        y = labels[split].astype(label_dtype(names))
        rows = image_table.build(
            (f"x_{split}[{k}]" for k in range(len(y))),
            (names[label] for label in y))
        splits[split] = Split(x, y, rows, digests.of_all(
            lambda rows, x=x: np.ascontiguousarray(x[rows]), len(x)))
    return Dataset(splits, names, [], given.unknown)


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


def _check_classes(labels, names, path):
    """Return the class names, or raise a SourceError.

    Args:
        labels: split -> labels, integer (n,).
        names: of the source, or None.
        path: of the source, named in errors.
    """
    present = np.unique(labels["train"])
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
    for split, y in labels.items():
        if y.min() < 0 or y.max() >= len(present):
            label = int(y.min() if y.min() < 0 else y.max())
            raise errors.SourceError(
                f"{path}: y_{split}: label {label}; the labels of "
                f"train are 0..{len(present) - 1}")
    if names is None:
        return [str(k) for k in range(len(present))]
    unusable = [name for name in names if UNUSABLE.search(name)]
    if unusable:
        raise errors.SourceError(
            f"{path}: class_names: {text.escaped(unusable[0])} contains a NUL "
            "or half a character, which no file can contain; rename it")
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
