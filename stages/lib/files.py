#!/usr/bin/env python3
"""Files that stages hand on: written whole or not at all, read with care."""
import contextlib
import csv
import hashlib
import io
import json
import os
import shutil

import numpy as np

from stages.lib.errors import ArtefactError, StorageError

SPLITS = ("train", "validation", "test")
PARENT = os.getppid()


@contextlib.contextmanager
def replacing(path):
    """Yield a binary file that becomes `path` only if all goes well.

    It is written beside `path`, synchronised and renamed, so that a reader
    never sees half a file, and a file that shares its bytes with DVC's cache
    (a hard link) is never written in place.

    Raises:
        StorageError: the disk is full, or `path` cannot be written.
    """
    part = f"{path}.part"
    try:
        with explained(path):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(part, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            put(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


@contextlib.contextmanager
def explained(path):
    """Raise a StorageError where the system refuses to write `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); make "
            "room or mend the permissions, then run again") from error


def put(part, path):
    """Rename the finished file `part` to `path`.

    A stage whose DVC was killed puts nothing in place any more: DVC may have
    restored other files since.

    Raises:
        OSError: DVC is gone, or the file cannot be renamed.
    """
    demand_dvc()
    os.replace(part, path)


def demand_dvc():
    """Raise an OSError if the DVC that started this stage is gone."""
    if "DVC_STAGE" in os.environ and os.getppid() != PARENT:
        raise OSError("the DVC that started this stage is gone")


def link(path, name):
    """Let the finished file `path` appear as `name`, too, without a copy.

    Where the file system has no hard links, it is a copy.

    Raises:
        StorageError: as `replacing`.
    """
    part = f"{name}.part"
    with explained(name):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        try:
            os.link(path, part)
        except OSError:
            shutil.copyfile(path, part)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)    # two links of one file are not renamed
        put(part, name)


def digest(path, name):
    """Return a digest of the file `path`, as "sha256", in hexadecimal."""
    found = hashlib.new(name)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def array_writer(path, dtype, shape):
    """Yield an `ArrayWriter` of an `.npy` file of `dtype` and `shape`.

    Raises:
        StorageError: as `replacing`.
        ValueError: the rows appended are not those that `shape` announces.
    """
    with replacing(path) as file:
        writer = ArrayWriter(file, np.dtype(dtype), shape)
        yield writer
        if writer.rows != shape[0]:
            raise ValueError(f"{path}: {writer.rows} rows appended, "
                             f"{shape[0]} announced")


class ArrayWriter:
    """Appends rows to an `.npy` file."""

    def __init__(self, file, dtype, shape):
        """Write the header of an array of `dtype` and `shape` to `file`."""
        self.rows = 0
        self._file, self._dtype, self._row = file, dtype, shape[1:]
        np.lib.format.write_array_header_1_0(file, {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False, "shape": tuple(shape)})

    def append(self, rows):
        """Append `rows`, an array of shape (k, *row)."""
        rows = np.ascontiguousarray(rows, dtype=self._dtype)
        if rows.shape[1:] != self._row:
            raise ValueError(f"rows of shape {rows.shape[1:]} in an array "
                             f"of rows of shape {self._row}")
        self.rows += len(rows)
        self._file.write(rows.data)


def write_array(path, array):
    """Write `array` as `.npy`."""
    with array_writer(path, array.dtype, array.shape) as out:
        out.append(array)


def write_text(path, text):
    """Write `text` as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path, value):
    """Write `value` as indented JSON with a newline at the end."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path, header, rows):
    """Write a table of values as comma-separated text."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *rows])
    write_text(path, table.getvalue())


def read_json(path):
    """Return the value in a JSON file of this pipeline.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def open_array(path, ndim=None):
    """Return the array in an `.npy` file of this pipeline, memory-mapped.

    Raises:
        ArtefactError: missing, damaged, of another number of dimensions, or
            the file's length is not what its header says.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        length = os.path.getsize(path)
    except (OSError, EOFError, ValueError) as error:
        raise damaged(path, error) from error
    if length != array.offset + array.nbytes:
        raise damaged(path, f"{length} bytes, its header promises "
                      f"{array.offset + array.nbytes}")
    if ndim and array.ndim != ndim:
        raise damaged(path, f"shape {array.shape}, not {ndim} dimensions")
    return array


def damaged(path, why):
    """Return the error for a file that cannot be used."""
    why = getattr(why, "strerror", None) or why
    return ArtefactError(f"{path}: cannot be used ({why}); delete it and run "
                         "`dvc repro`")


def amount(size):
    """Return a number of bytes for people, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000
    else:
        unit = "TB"
    return f"{size:.3g} {unit}"
