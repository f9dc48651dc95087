#!/usr/bin/env python3
"""Read the data source: one module for each kind.

TensorFlow, Pillow and scikit-learn's data sets take time to start, so they are
imported only for a source that needs them.
"""
import os

from stages.lib.common import errors
from stages.lib.params import descriptor
from stages.lib.sources import cifar10, dataset, digits, npz

DESCRIBED = {"cifar10": cifar10, "digits": digits}    # by a descriptor


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
        described = descriptor.read(path, {
            kind: module.Descriptor for kind, module in DESCRIBED.items()})
        arrays = DESCRIBED[described.kind].load(described)
    elif path.endswith(".npz"):
        arrays = npz.load(path)
    else:
        raise errors.SourceError(
            f"data.source: {path}: unknown kind of source; known: a "
            "descriptor (.yaml), arrays (.npz), a folder")
    return dataset.from_arrays(dataset.check(arrays, path))
