#!/usr/bin/env python3
"""What every data source gives, and what is demanded of it."""
from typing import List, NamedTuple

import numpy as np

from stages.lib.errors import SourceError


class Dataset(NamedTuple):
    """Images uint8 (n, h, w, 3), RGB, 0..255; labels integer (n,), 0..k-1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: List[str]


def check(dataset, path):
    """Return `dataset` with labels in the least dtype, or say what is wrong.

    Raises:
        SourceError: as `load`.
    """
    dataset = dataset._replace(y_train=_flat(dataset.y_train),
                               y_test=_flat(dataset.y_test))
    count = len(dataset.class_names)
    for split in ("train", "test"):
        x, y = (getattr(dataset, f"{a}_{split}") for a in "xy")
        name = f"{path}: {{}}_{split}".format
        if x.dtype != np.uint8:
            raise SourceError(f"{name('x')}: dtype {x.dtype}; images must be "
                              "uint8, 0..255")
        if x.ndim != 4 or x.shape[3] != 3 or 0 in x.shape[1:]:
            raise SourceError(f"{name('x')}: shape {x.shape}; images must be "
                              "(n, height, width, 3), RGB")
        if len(x) == 0:
            raise SourceError(f"{name('x')}: the split is empty")
        if y.dtype.kind not in "iu" or y.ndim != 1:
            raise SourceError(f"{name('y')}: {y.dtype}, shape {y.shape}; "
                              "labels must be integers, (n,) or (n, 1)")
        if len(x) != len(y):
            raise SourceError(f"{name('x')} has {len(x)} rows, y_{split} "
                              f"{len(y)}: each image needs one label")
        if y.min() < 0 or y.max() >= count:
            wrong = y.min() if y.min() < 0 else y.max()
            raise SourceError(f"{name('y')}: label {wrong}; with {count} "
                              f"classes, labels must be 0..{count - 1}")
    if dataset.x_train.shape[1:] != dataset.x_test.shape[1:]:
        raise SourceError(f"{path}: x_train has images of "
                          f"{dataset.x_train.shape[1:]}, x_test of "
                          f"{dataset.x_test.shape[1:]}: make them equal")
    gaps = sorted(set(range(count)) - set(np.unique(dataset.y_train)))
    if gaps or count < 2:
        raise SourceError(f"{path}: y_train: no image of class "
                          f"{gaps[0] if gaps else 1}; number the classes "
                          "0, 1, 2, … without gaps, two at least")
    dtype = np.uint8 if count <= 256 else np.int64
    return dataset._replace(y_train=dataset.y_train.astype(dtype),
                            y_test=dataset.y_test.astype(dtype))


def _flat(labels):
    """Return labels (n, 1) as (n,), all others as they are."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    return labels
