#!/usr/bin/env python3
"""Read the data source, of whatever kind: one module for each."""
import os

from stages.lib import source_cifar10, source_digits, source_npz
from stages.lib.dataset import check
from stages.lib.descriptor import read
from stages.lib.errors import SourceError

KINDS = {"cifar10": source_cifar10, "digits": source_digits}


def load(path):
    """Return the checked `Dataset` of the source `path`.

    Raises:
        SourceError: naming the file and array, what is wrong, and the mend.
        ParameterError: naming the descriptor's key.
    """
    if not os.path.isabs(path) and os.path.relpath(path).startswith(".."):
        raise SourceError(f"data.source: {path} is outside the repository; "
                          "write its absolute path (experiments run in "
                          "folders of their own)")
    if path.endswith((".yaml", ".yml")):
        descriptor = read(path, {kind: module.Descriptor
                                 for kind, module in KINDS.items()})
        return check(KINDS[descriptor.kind].load(descriptor), path)
    if path.endswith(".npz"):
        return check(source_npz.load(path), path)
    raise SourceError(f"data.source: {path}: unknown kind of source; known: "
                      "a descriptor (.yaml), arrays (.npz)")
