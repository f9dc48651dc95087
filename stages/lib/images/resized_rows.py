#!/usr/bin/env python3
"""Resized images that the previous run of `resize` left: not made again.

A row is known by the SHA-256 of its file.  DVC leaves the previous arrays in
place (`persist`), and a row is taken only if its pixels still have the digest
that was kept.
"""
import numpy as np

from stages.lib.common import arrays, digests, errors, files, kept_table

PATH = "data/resized/scratch/rows"
ROW = np.dtype([("sha256", np.uint8, 32), ("split", np.uint8),
                ("row", np.int64), ("digest", np.uint8, digests.DIGEST)])


class ResizedRows:
    """The rows of the arrays that the previous run left."""

    def __init__(self, given):
        """Open the arrays; none if they were made in another way.

        Args:
            given: `params.Resize`.
        """
        self._key, self._now, self._arrays = _key(given), [], {}
        rows = kept_table.read(PATH, self._key)
        self._rows = kept_table.Index(rows)
        for k, split in enumerate(files.SPLITS if len(self._rows) else ()):
            try:
                array = arrays.open_array(f"data/resized/{split}_x.npy", 4)
            except errors.ArtefactError:    # or there is none
                continue
            if array.shape == ((rows["split"] == k).sum(), given.side,
                               given.side, 3):
                self._arrays[k] = array

    def __bool__(self):
        """Return whether any rows are known."""
        return bool(self._arrays)

    def forget(self):
        """Know no rows any more."""
        self._arrays = {}

    def get(self, sha256):
        """Return the resized image of a file, or None.

        Args:
            sha256: of the file, 32 bytes.

        Returns:
            uint8 (side, side, 3), 0..255.
        """
        row = self._rows.get(sha256)
        if row is None or row["split"] not in self._arrays:
            return None
        pixels = np.array(self._arrays[row["split"]][row["row"]])
        good = (digests.of_rows([pixels])[0] == row["digest"]).all()
        return pixels if good else None

    def add(self, split, sha256, table):
        """Keep what a new array contains.

        Args:
            split: its name.
            sha256: of each row's file, uint8 (n, 32).
            table: digests of its rows, uint8 (n, 16).
        """
        rows = np.empty(len(table), ROW)
        rows["sha256"], rows["digest"] = sha256, table
        rows["split"] = files.SPLITS.index(split)
        rows["row"] = np.arange(len(table))
        self._now.append(rows)

    def write(self):
        """Write what was added, for the next run."""
        kept_table.write(PATH, self._key, np.concatenate(self._now))


def _key(given):
    """Return all that resizing depends on besides a file, for JSON."""
    from stages.lib.images import decoders    # Pillow
    return {**decoders.key(), **given.model_dump(),
            "resizing": kept_table.code(
                "stages.lib.images.rescaling")}
