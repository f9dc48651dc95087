#!/usr/bin/env python3
"""The seal of a model file: it contains the SHA-256 of its other bytes.

Models are copied to other places, where no other file says what they were.
"""
import hashlib
import re

from stages.lib.common import errors, files

ATTRIBUTE = "sha256"    # of the HDF5 file; searched as bytes, see `check`
SAID = "SHA-256 of all other bytes of this file: "
BLANK = SAID + 64 * "0"    # the value while the digest is computed
SEAL = re.compile(re.escape(SAID.encode()) + b"([0-9a-f]{64})")


def add(data):
    """Return the bytes of a model file, sealed.

    Args:
        data: bytes of an HDF5 file whose attribute `ATTRIBUTE` is `BLANK`.
    """
    found = SEAL.search(data)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:found.start(1)] + digest + data[found.end(1):]


def check(path):
    """Raise an ArtefactError if the model file `path` is damaged.

    The file is not parsed: HDF5 may crash on damaged ones.  Files that others
    wrote have no seal and are accepted.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise files.no_model(path, error) from error
    found = SEAL.search(data)
    if not found:
        return
    actual, view = hashlib.sha256(), memoryview(data)
    for part in (view[:found.start(1)], 64 * b"0", view[found.end(1):]):
        actual.update(part)
    if actual.hexdigest().encode() != found[1]:
        raise errors.ArtefactError(
            f"{path}: damaged: its SHA-256 differs from that inside it; "
            f"{files.REPAIR}, or copy it again")
