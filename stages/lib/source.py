#!/usr/bin/env python3
"""Read the data source, of whatever kind: one module for each."""
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
    if path.endswith((".yaml", ".yml")):
        descriptor = read(path, {kind: module.Descriptor
                                 for kind, module in KINDS.items()})
        return check(KINDS[descriptor.kind].load(descriptor), path)
    if path.endswith(".npz"):
        return check(source_npz.load(path), path)
    raise SourceError(f"data.source: {path}: unknown kind of source; known: "
                      "a descriptor (.yaml), arrays (.npz)")
