#!/usr/bin/env python3
"""Read the data source: one module for each kind.

A module is imported only for a source of its kind: TensorFlow, scikit-learn
and Pillow take time to start.
"""
import os

from stages.lib.common import errors
from stages.lib.params import descriptor
from stages.lib.sources import dataset

DESCRIPTORS = ("cifar10", "digits")


def load(path):
    """Return the `dataset.Dataset` of the source `path`, validated.

    Raises:
        SourceError: names the file and array, what is wrong and how to fix it.
        ParameterError: names the descriptor's key.
    """
    if os.path.isdir(path):
        from stages.lib.sources import folder
        return folder.load(path)
    if path.endswith((".yaml", ".yml")):
        if descriptor.kind(path, DESCRIPTORS) == "cifar10":
            from stages.lib.sources import cifar10 as described
        else:
            from stages.lib.sources import digits as described
        arrays = described.load(descriptor.read(path, described.Descriptor))
    elif path.endswith(".npz"):
        from stages.lib.sources import npz
        arrays = npz.load(path)
    else:
        raise errors.SourceError(
            f"data.source: {path}: unknown kind of source; known: a "
            "descriptor (.yaml), arrays (.npz), a folder")
    return dataset.from_arrays(dataset.check(arrays, path))
