#!/usr/bin/env python3
"""Read the data source and carve a validation split from train.

In:  data.source, a descriptor (.yaml) or arrays (.npz).
Out: data/prepared/{train,validation,test}_x.npy  uint8 (n, h, w, 3), 0..255
     data/prepared/{train,validation,test}_y.npy  uint8 or int64 (n,)
     data/prepared/dataset.json                   class names
"""
import numpy as np
from sklearn.model_selection import train_test_split

from stages.lib import arrays, files, params, source
from stages.lib.errors import SourceError
from stages.lib.stage import run


def carve(labels, fraction, seed, names):
    """Return the rows of train and of validation, ascending, int64.

    `fraction` of every class goes to validation, rounded by scikit-learn so
    that the whole is right.

    Raises:
        SourceError: a class has too few images for both splits.
    """
    counts = np.bincount(labels, minlength=len(names))
    rarest = int(counts.argmin())
    need = int(np.ceil(1 / min(fraction, 1 - fraction)))
    if counts[rarest] < need:
        raise SourceError(
            f"class {rarest} ({names[rarest]}) has {counts[rarest]} images "
            f"in train; data.validation_fraction {fraction:g} needs {need} "
            "of each class")
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=fraction, stratify=labels,
        random_state=seed)
    return np.sort(train), np.sort(validation)


def main():
    """Write the three splits."""
    given = params.read().data
    data = source.load(given.source)
    train, validation = carve(data.y_train, given.validation_fraction,
                              given.seed, data.class_names)
    for split, x, y in [
            ("train", data.x_train[train], data.y_train[train]),
            ("validation", data.x_train[validation],
             data.y_train[validation]),
            ("test", data.x_test, data.y_test)]:
        arrays.write_array(f"data/prepared/{split}_x.npy", x)
        arrays.write_array(f"data/prepared/{split}_y.npy", y)
        print(f"prepare: {split}: {len(x):,} images, {x.shape[1:]}")
    files.write_json("data/prepared/dataset.json",
                     {"class_names": data.class_names})


if __name__ == "__main__":
    run(main)
