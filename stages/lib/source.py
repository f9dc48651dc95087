#!/usr/bin/env python3
"""Read the data source, of whatever kind: one module for each."""
import os

from stages.lib import (source_cifar10, source_digits, source_folder,
                        source_npz)
from stages.lib.dataset import as_data, check
from stages.lib.descriptor import read
from stages.lib.errors import SourceError

KINDS = {"cifar10": source_cifar10, "digits": source_digits}


def load(path):
    """Return the `Data` of the source `path`; arrays are checked.

    Raises:
        SourceError: naming the file and array, what is wrong, and the mend.
        ParameterError: naming the descriptor's key.
    """
    if os.path.isdir(path):
        return source_folder.load(path)
    if path.endswith((".yaml", ".yml")):
        descriptor = read(path, {kind: module.Descriptor
                                 for kind, module in KINDS.items()})
        return as_data(check(KINDS[descriptor.kind].load(descriptor), path))
    if path.endswith(".npz"):
        return as_data(check(source_npz.load(path), path))
    raise SourceError(f"data.source: {path}: unknown kind of source; known: "
                      "a descriptor (.yaml), arrays (.npz), a folder")
