#!/usr/bin/env python3
"""Rows of features on disk, identified by image and sealed by a digest.

`{name}_x.npy` contains the features.  `{name}_rows.npy` beside it contains
two digests for each row: that of the image's pixels, and that of the row's
bytes, the seal.  A row is good if its bytes match its seal; a half-written or
damaged row does not.
"""
import contextlib
import os

import numpy as np

from stages.lib.common import arrays, digests, errors, files

TABLE = np.dtype([("image", np.uint8, digests.DIGEST),
                  ("seal", np.uint8, digests.DIGEST)])


def paths(folder, name):
    """Return the paths of the array `name` and of its table in `folder`."""
    return f"{folder}/{name}_x.npy", f"{folder}/{name}_rows.npy"


class StoredRows:
    """An array and its table that an earlier run wrote."""

    def __init__(self, x_path, table_path):
        """Open both for reading.

        Raises:
            ArtefactError: one is missing or damaged, or they do not belong
                together.
        """
        self.path = x_path
        self.x = arrays.open_array(x_path)
        self.table = np.array(arrays.open_array(table_path, ndim=1))
        if self.table.dtype != TABLE or len(self.table) != len(self.x):
            raise files.unusable(table_path, "not the table of this array")
        self.inode = os.stat(x_path).st_ino

    def check(self):
        """Return which rows are good and which are damaged, bool (n,) both.

        Rows that are not computed yet are neither.
        """
        sealed = self.table["seal"].any(axis=1)
        intact = (digests.of_all(lambda rows: self.x[rows[0]:rows[-1] + 1],
                                 len(self.x)) == self.table["seal"]
                  ).all(axis=1)
        return sealed & intact, sealed & ~intact


class GrowingRows(StoredRows):
    """An array that is being filled; threads may write at the same time."""

    @classmethod
    def create(cls, folder, name, dtype, shape, images):
        """Return a new array of `shape` without rows.

        Args:
            images: digests of the images, uint8 (n, 16).

        Raises:
            StorageError: the disk has no space for the whole array.
        """
        x_path, table_path = paths(folder, name)
        table = np.zeros(shape[0], TABLE)
        table["image"] = images
        try:
            with files.storage_errors(x_path):
                os.makedirs(os.path.dirname(x_path), exist_ok=True)
                np.lib.format.open_memmap(x_path, "w+", dtype, shape)
                if hasattr(os, "posix_fallocate"):    # not on macOS
                    with open(x_path, "r+b") as file:
                        os.posix_fallocate(file.fileno(), 0,
                                           os.path.getsize(x_path))
        except errors.StorageError:
            with contextlib.suppress(OSError):
                os.unlink(x_path)
            raise
        arrays.write_array(table_path, table)
        del table    # of 100 million rows, 3 GB
        return cls(x_path, table_path)

    def __init__(self, x_path, table_path):
        """Open both for reading and writing."""
        super().__init__(x_path, table_path)
        self._table_path = table_path
        self._start = np.load(table_path, mmap_mode="r").offset

    def write(self, rows, features, seals=None):
        """Write `features` as the rows `rows`, ascending, then their seals.

        Raises:
            StorageError: the disk is full.
        """
        seals = digests.of_rows(features) if seals is None else seals
        self.table["seal"][rows] = seals
        ends = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = list(zip(np.split(rows, ends), np.split(features, ends)))
        with files.storage_errors(self.path):
            with open(self.path, "r+b", buffering=0) as file:
                for run, data in runs:
                    _write(file, self.x.offset
                           + int(run[0]) * self.x[0].nbytes, data)
            with open(self._table_path, "r+b", buffering=0) as file:
                for run, _ in runs:
                    _write(file, self._start + int(run[0]) * TABLE.itemsize,
                           self.table[run])

    def missing(self):
        """Return the rows that are not computed yet, ascending."""
        return np.flatnonzero(~self.table["seal"].any(axis=1))

    def forget(self, rows):
        """Mark `rows` as missing."""
        self.table["seal"][rows] = 0


def _write(file, offset, data):
    """Write the bytes of the array `data` at `offset`, all of them."""
    view = memoryview(data.tobytes())
    while len(view):
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written
