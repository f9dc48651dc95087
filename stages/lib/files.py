#!/usr/bin/env python3
"""Files that stages hand on: written whole or not at all, read with care."""
import contextlib
import csv
import hashlib
import io
import json
import os
import shutil

from stages.lib.errors import ArtefactError, PlanError, StorageError

SPLITS = ("train", "validation", "test")
HEAD = "models/head.h5"    # what was trained: the head, or tail and head
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
        if os.path.exists(name) and os.path.samefile(path, name):
            return    # two links of one file cannot be renamed
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        try:
            os.link(path, part)
        except OSError:
            shutil.copyfile(path, part)
        put(part, name)


def digest(path, name):
    """Return a digest of the file `path`, as "sha256", in hexadecimal."""
    found = hashlib.new(name)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


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


def read_columns(path, names, words=()):
    """Return columns of a CSV file: floats of `names`, text of `words`.

    Each is a list, by its name.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {**{name: [float(row[name]) for row in rows] for name in names},
                **{name: [row[name] for row in rows] for name in words}}
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise damaged(path, error) from error


def damaged(path, why):
    """Return the error for a file that cannot be used."""
    why = getattr(why, "strerror", None) or why
    return ArtefactError(f"{path}: cannot be used ({why}); delete it and run "
                         "`dvc repro`")


def demand_room(place, need, free, mend):
    """Raise a PlanError if `place` needs more bytes of disk than are free.

    `mend` says what to change.
    """
    if need > free:
        raise PlanError(f"{place}: {amount(need)} of disk needed, "
                        f"{amount(free)} are free: {mend}")


def amount(size):
    """Return a number of bytes for people, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000
    else:
        unit = "TB"
    return f"{size:.3g} {unit}"
