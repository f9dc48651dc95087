#!/usr/bin/env python3
"""A table that a stage keeps for its next run; DVC does not track it.

`{path}.npy` has the rows, `{path}.json` their key and SHA-256.  What depends
on something else, or is damaged, is not read: the stage then does without.
"""
import importlib.util
import os

import numpy as np

from stages.lib.common import errors, files, seals


def read(path, key):
    """Return the rows, a structured array; None if they cannot be used.

    Args:
        path: of the table, without ending.
        key: all that its rows depend on, for JSON.
    """
    if not os.path.exists(f"{path}.json"):
        return None
    try:
        about = seals.read_json(f"{path}.json")
        if about["key"] != key:
            return None
        if files.digest(f"{path}.npy", "sha256") != about["sha256"]:
            raise files.unusable(f"{path}.npy", "its SHA-256 has changed")
    except (errors.ArtefactError, OSError) as error:
        print(f"not reused: {error}", flush=True)
        return None
    return np.load(f"{path}.npy")


def write(path, key, table):
    """Write the rows; arguments as of `read`."""
    with files.replacing(f"{path}.npy") as file:
        np.save(file, table)
    seals.write_json(f"{path}.json", {"key": key, "sha256": files.digest(
        f"{path}.npy", "sha256")})


class Index:
    """Finds rows by their field "sha256", uint8 (n, 32); None: no rows."""

    def __init__(self, rows):
        """Sort the rows by the first 8 bytes."""
        self._rows = self._order = self._prefixes = None
        if rows is not None:
            prefixes = _prefix(np.ascontiguousarray(rows["sha256"][:, :8]))
            self._rows, self._order = rows, np.argsort(prefixes)
            self._prefixes = prefixes[self._order]

    def __len__(self):
        """Return the number of rows."""
        return 0 if self._rows is None else len(self._rows)

    def get(self, sha256):
        """Return the row of 32 bytes, or None."""
        if not len(self):
            return None
        k = np.searchsorted(self._prefixes, _prefix(
            np.frombuffer(sha256[:8], np.uint8))[0])
        row = self._rows[self._order[min(k, len(self) - 1)]]
        return row if row["sha256"].tobytes() == sha256 else None


def _prefix(first):
    """Return bytes, uint8 (n, 8) or (8,), as numbers, uint64 (n,)."""
    return first.reshape(-1, 8).view(np.uint64)[:, 0]


def code(*names):
    """Return the SHA-256 of each module's source, for a key.

    Args:
        names: of modules, "stages.lib.images.jpeg"; none is imported.
    """
    return {name.rsplit(".", 1)[-1]: files.digest(
        importlib.util.find_spec(name).origin, "sha256") for name in names}
