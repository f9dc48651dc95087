#!/usr/bin/env python3
"""Resized images that the previous run of `resize` left: not made again.

A row is known by the SHA-256 of its file.  DVC leaves the previous arrays in
place (`persist`), and a row is taken only if its pixels still have the digest
that was kept.
"""
import numpy as np

from stages.lib.common import arrays, digests, errors, files, kept_table

PATH = "data/resized/scratch/rows"
ROW = np.dtype([("split", np.uint8), ("sha256", np.uint8, 32),
                ("digest", np.uint8, digests.DIGEST)])


class ResizedRows:
    """The rows of the arrays that the previous run left."""

    def __init__(self, given):
        """Open the arrays; none if they were made in another way.

        Args:
            given: `params.Resize`.
        """
        self._key, self._side, self._now = _key(given), given.side, []
        self._place, self._digest, self._arrays = {}, {}, {}
        found = kept_table.read(PATH, self._key)
        for k, split in enumerate(files.SPLITS if found is not None else ()):
            self._open(k, split, found[found["split"] == k])

    def _open(self, k, split, rows):
        """Open the array of a split, if it has these rows."""
        path = f"data/resized/{split}_x.npy"
        try:
            array = arrays.open_array(path, ndim=4)
        except errors.ArtefactError:    # or there is none
            return
        if array.shape == (len(rows), self._side, self._side, 3):
            self._arrays[k] = array
            for row, sha256 in enumerate(rows["sha256"]):
                self._place[sha256.tobytes()] = (k, row)
            self._digest[k] = rows["digest"]

    def __len__(self):
        """Return how many images are known."""
        return len(self._place)

    def forget(self):
        """Know no rows any more."""
        self._place, self._arrays = {}, {}

    def get(self, sha256):
        """Return the resized image of a file, or None.

        Args:
            sha256: of the file, hexadecimal.

        Returns:
            uint8 (side, side, 3), 0..255.
        """
        k, row = self._place.get(bytes.fromhex(sha256), (None, None))
        if k is None:
            return None
        pixels = np.array(self._arrays[k][row])
        good = (digests.of_rows([pixels])[0] == self._digest[k][row]).all()
        return pixels if good else None

    def add(self, split, sha256, table):
        """Keep what a new array contains.

        Args:
            split: its name.
            sha256: of each row's file, hexadecimal.
            table: digests of its rows, uint8 (n, 16).
        """
        rows = np.empty(len(sha256), ROW)
        rows["split"] = files.SPLITS.index(split)
        rows["sha256"] = np.frombuffer(
            bytes.fromhex("".join(sha256)), np.uint8).reshape(-1, 32)
        rows["digest"] = table
        self._now.append(rows)

    def write(self):
        """Write what was added, for the next run."""
        kept_table.write(PATH, self._key, np.concatenate(self._now))


def _key(given):
    """Return all that resizing depends on besides a file, for JSON."""
    from stages.lib.images import decoders, jpeg, rescaling    # Pillow
    return {**decoders.key(), **given.model_dump(),
            "resizing": kept_table.code(jpeg, rescaling)}
