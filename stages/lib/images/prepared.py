#!/usr/bin/env python3
"""The prepared images of a split: an array, or a list of files."""
import hashlib
import os

import numpy as np

from stages.lib.common import arrays, errors, image_table, seals


def rows(split):
    """Return which image each row of `split` is, an `ImageTable`.

    Raises:
        ArtefactError: missing or damaged.
    """
    path = f"data/prepared/{split}_rows.npy"
    seals.check("prepare", path)
    return image_table.read(path)


class Images:
    """The images of a split, row by row.

    Attributes:
        array: uint8 (n, h, w, 3), memory-mapped; (n, 0, 0, 3) if the images
            are files.
        of_files: whether they are.
        shape: of an image, (h, w, 3); (None, None, 3) if they differ.
    """

    def __init__(self, split, source):
        """Open the `split`.

        Args:
            split: its name.
            source: data.source; for files, their folder or table.

        Raises:
            ArtefactError: array or list is missing or damaged.
        """
        path = f"data/prepared/{split}_x.npy"
        self.array = arrays.open_array(path, ndim=4)
        seals.check("prepare", path)
        self.of_files = self.array.shape[1] == 0
        self.shape = (None, None, 3) if self.of_files else self.array.shape[1:]
        self._folder = (source if os.path.isdir(source)
                        else os.path.dirname(source))
        self._rows = None
        if self.of_files:
            self._rows = rows(split)

    def __len__(self):
        """Return the number of images."""
        return len(self.array)

    def __getitem__(self, row):
        """Return one image, uint8 (h, w, 3).

        Raises:
            SourceError: as `read`.
        """
        if self.of_files:
            from stages.lib.images import decoding    # not for arrays
            return decoding.decode(self.read(row))
        return np.array(self.array[row])

    def size(self, row):
        """Return height and width of a row's image."""
        return self._rows[row]["size"] if self.of_files else self.shape[:2]

    def jpeg(self, row):
        """Return whether `jpeg.decode` gives the pixels of a row's file."""
        return self._rows[row]["jpeg"]

    def sha256(self, rows):
        """Return the SHA-256 of the files of some rows, uint8 (k, 32)."""
        return self._rows.table["sha256"][rows]

    def read(self, row):
        """Return the bytes of a row's file.

        Raises:
            SourceError: it cannot be read, or changed since `prepare` read it.
        """
        path = os.path.join(self._folder, self._rows[row]["image"])
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise errors.SourceError(
                f"{path}: cannot be read ({error.strerror}); "
                "fix it, then run `dvc repro`") from error
        if hashlib.sha256(data).hexdigest() != self._rows[row]["sha256"]:
            raise errors.SourceError(
                f"{path}: changed since prepare read it; run "
                "`dvc repro`")
        return data
