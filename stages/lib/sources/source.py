#!/usr/bin/env python3
"""Read the data source: one module for each kind.

TensorFlow, Pillow and scikit-learn's data sets take time to start, so they are
imported only for a source that needs them.
"""
import os

from stages.lib.common import errors, watched_files
from stages.lib.params import descriptor, names
from stages.lib.sources import cifar10, dataset, digits, npz

DESCRIBED = {"cifar10": cifar10, "digits": digits}    # by a descriptor


def load(given):
    """Return the `dataset.Dataset` of the source, validated.

    Args:
        given: `params.Data`.

    Raises:
        SourceError: names the file and array, what is wrong and how to fix it.
        ParameterError: names the descriptor's key.
    """
    path = given.source
    ending = os.path.splitext(path)[1].lower()
    if ending in names.TABLES and not os.path.isdir(path):
        from stages.lib.sources import table
        return table.load(path, given)
    watched_files.watch(watched_files.IMAGES, [])
    if os.path.isdir(path):
        from stages.lib.sources import folder
        return folder.load(path, given)
    if ending in (".yaml", ".yml"):
        described = descriptor.read(path, {
            kind: module.Descriptor for kind, module in DESCRIBED.items()})
        arrays = DESCRIBED[described.kind].load(described)
    elif ending == ".npz":
        arrays = npz.load(path)
    else:
        raise errors.SourceError(
            f"data.source: {path}: unknown kind of source; known: a folder, "
            "a table (.csv, .parquet), arrays (.npz), a descriptor (.yaml)")
    return dataset.from_arrays(arrays, path)
