#!/usr/bin/env python3
"""Arrays that stages exchange as `.npy`: written by rows, read memory-mapped.
"""
import contextlib
import os
import tokenize

import numpy as np

from stages.lib.common import files

BLOCK = 4096    # rows written at a time


@contextlib.contextmanager
def array_writer(path, dtype, shape):
    """Yield an `ArrayWriter` of an `.npy` file with this `dtype` and `shape`.

    Raises:
        StorageError: as `files.replacing`.
        ValueError: the number of appended rows is not `shape[0]`.
    """
    with files.replacing(path) as file:
        writer = ArrayWriter(file, np.dtype(dtype), shape)
        yield writer
        if writer.rows != shape[0]:
            raise ValueError(f"{path}: {writer.rows} rows appended, "
                             f"{shape[0]} announced")


class ArrayWriter:
    """Appends rows to an `.npy` file.

    Attributes:
        dtype, shape: of the array.
        rows: number of rows that were appended.
    """

    def __init__(self, file, dtype, shape):
        """Write the header of an array of `dtype` and `shape` to `file`."""
        self.rows, self.dtype, self.shape = 0, dtype, tuple(shape)
        self._file = file
        np.lib.format.write_array_header_1_0(file, {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False, "shape": self.shape})

    def append(self, rows):
        """Append `rows`, an array of shape (k, *row)."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        if rows.shape[1:] != self.shape[1:]:
            raise ValueError(f"rows of shape {rows.shape[1:]} in an array "
                             f"of rows of shape {self.shape[1:]}")
        self.rows += len(rows)
        self._file.write(rows.data)


class Rows:
    """Some rows of an array, read when they are needed.

    Attributes:
        dtype, shape: as of an array.
    """

    def __init__(self, array, rows):
        """Keep the array (n, …) and the numbers of the rows, (k,)."""
        self._array, self._rows = array, rows
        self.dtype, self.shape = array.dtype, (len(rows), *array.shape[1:])

    def __getitem__(self, part):
        """Return the rows of a slice, an array."""
        return self._array[self._rows[part]]


def write_array(path, array):
    """Write `array`, or `Rows`, as `.npy`."""
    with array_writer(path, array.dtype, array.shape) as out:
        for k in range(0, array.shape[0], BLOCK):
            out.append(array[k:k + BLOCK])


def open_array(path, ndim=None):
    """Return the array in an `.npy` file of this pipeline, memory-mapped.

    Raises:
        ArtefactError: missing, damaged, not of `ndim` dimensions, or the
            file's length differs from what its header says.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        length = os.path.getsize(path)
    except (OSError, EOFError, ValueError, SyntaxError,
            tokenize.TokenError) as error:    # of NumPy's header
        raise files.unusable(path, error) from error
    if length != array.offset + array.nbytes:
        raise files.unusable(path, f"{length} bytes instead of "
                             f"{array.offset + array.nbytes}")
    if ndim and array.ndim != ndim:
        raise files.unusable(path, f"shape {array.shape}, not {ndim} "
                             "dimensions")
    return array
