#!/usr/bin/env python3
"""Files that stages exchange: written completely or not at all."""
import contextlib
import csv
import hashlib
import io
import json
import os
import shutil

from stages.lib.common import errors

SPLITS = ("train", "validation", "test")
SCORED = SPLITS[1:]    # by `evaluate`
HEAD = "models/head.h5"    # the trained head, with its tail if there is a cut
CANDIDATE = "models/candidate.h5"    # becomes fuse.output after its comparison
HISTORY = ["accuracy", "val_accuracy", "loss", "val_loss"]    # of each epoch
PARENT = os.getppid()
REPAIR = "run `make repair`, then `dvc repro`"
HIDDEN = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir",
          "$recycle.bin", "system volume information", "lost+found")


@contextlib.contextmanager
def replacing(path):
    """Yield a binary file that replaces `path` when the block ends well.

    The file is written beside `path`, flushed to disk and renamed.  A reader
    never sees half a file, and a hard link to DVC's cache is never written in
    place.

    Raises:
        StorageError: the disk is full, or `path` cannot be written.
    """
    part = f"{path}.part"
    try:
        with storage_errors(path):
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
def storage_errors(path):
    """Turn an OSError in the block into a StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise errors.StorageError(
            f"{path}: cannot be written ({error.strerror or error}); free "
            "disk space or fix the permissions, then run again") from error


def put(part, path):
    """Rename the finished file `part` to `path`.

    A stage whose DVC was killed must not put files in place any more: DVC
    may have restored others in the meantime.

    Raises:
        StorageError: DVC is gone.
        OSError: the file cannot be renamed.
    """
    check_dvc()
    os.replace(part, path)


def check_dvc():
    """Raise a StorageError if the DVC that started this stage is gone."""
    if "DVC_STAGE" in os.environ and os.getppid() != PARENT:
        raise errors.StorageError(
            "the DVC that started this stage is gone: stopped")


def link(path, name):
    """Make the finished file `path` available as `name`, too, by a hard link.

    It is a copy where the file system has no hard links.

    Raises:
        StorageError: as `replacing`.
    """
    part = f"{name}.part"
    with storage_errors(name):
        os.makedirs(os.path.dirname(name), exist_ok=True)
        if os.path.exists(name) and os.path.samefile(path, name):
            return    # rename does nothing for two links to one file
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        try:
            os.link(path, part)
        except OSError:
            shutil.copyfile(path, part)
        put(part, name)


def is_hidden(name):
    """Return whether a file or folder of this name is hidden or a system's.
    """
    return name.startswith(".") or name.lower() in HIDDEN


def digest(path, algorithm, count=None):
    """Return the hexadecimal digest of the file `path`, e.g. by "sha256".

    `count` is called with 1 after each MiB.
    """
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
            if count:
                count(1)
    return found.hexdigest()


def write_text(path, text):
    """Write `text` as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path, value):
    """Write `value` as indented JSON with a newline at the end."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path, header, rows):
    """Write a header and rows as comma-separated text."""
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
        raise unusable(path, error) from error


def inside(path):
    """Return the files in the folder `path`, sorted; [path] for a file."""
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(folder, name)
                  for folder, _, names in os.walk(path) for name in names)


def read_columns(path, numbers, texts=()):
    """Return columns of a CSV file as lists, by their names.

    Args:
        path: of the file.
        numbers: names of the columns to return as floats.
        texts: names of the columns to return as strings.

    Raises:
        ArtefactError: missing or damaged.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {**{name: [float(row[name]) for row in rows]
                   for name in numbers},
                **{name: [row[name] for row in rows] for name in texts}}
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise unusable(path, error) from error


def unusable(path, why):
    """Return the ArtefactError for the file `path`.

    A damaged file may be deleted, but DVC would restore it from its cache.
    """
    if isinstance(why, FileNotFoundError):
        return errors.ArtefactError(f"{path}: missing; run `dvc repro`")
    why = getattr(why, "strerror", None) or why
    return errors.ArtefactError(f"{path}: cannot be used ({why}); {REPAIR}")


def no_model(path, error):
    """Return the ArtefactError for the file `path`, which should be a model.
    """
    return errors.ArtefactError(
        f"{path}: no model can be read from it "
        f"({str(error).splitlines()[0]}); {REPAIR}, or copy it again")


def check_disk_space(place, need, free, fix):
    """Raise a PlanError if `place` needs more bytes of disk than are free.

    `fix` says what to change.
    """
    if need > free:
        raise errors.PlanError(f"{place}: needs {readable(need)} of disk, "
                               f"{readable(free)} are free: {fix}")


def readable(size):
    """Return a number of bytes as text, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            break
        size /= 1000
    else:
        unit = "TB"
    return f"{size:.3g} {unit}"
