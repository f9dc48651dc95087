#!/usr/bin/env python3
"""A folder of images, with a sub-folder for each class.

    train/<class>/…  validation/<class>/…  holdout/<class>/… or test/<class>/…

Every file becomes a row, or is rejected with a reason.
"""
import hashlib
import os
import unicodedata

import numpy as np

from stages.lib.common import digests, errors, files, parallel, progress
from stages.lib.images import decoding, jpeg
from stages.lib.sources import dataset, rejected_files

FOLDERS = {"train": "train", "validation": "validation", "holdout": "test",
           "test": "test"}
LAYOUT = ("a source folder contains train/<class>/<image> and optionally "
          "validation/, and holdout/ or test/")


def load(root):
    """Return the `dataset.Dataset` in the folder `root`, rows by path.

    Raises:
        SourceError: there is no train/, or both holdout/ and test/.
    """
    present = [name for name in FOLDERS
               if os.path.isdir(os.path.join(root, name))]
    if "train" not in present:
        raise errors.SourceError(f"{root}: no train/ in it; {LAYOUT}")
    if {"holdout", "test"} <= set(present):
        raise errors.SourceError(
            f"{root}: holdout/ and test/ are the same split; "
            "keep one of them")
    listed = sorted(_walk(root), key=lambda one: one.file)
    names = sorted({one.class_name for one in listed} - {None})
    rows, rejected = {split: [] for split in files.SPLITS}, []
    with progress.bar("prepare", len(listed)) as bar:
        for row in parallel.ordered(lambda one: _examine(root, one), listed):
            bar.update()
            if isinstance(row, rejected_files.ListedFile):
                rejected.append(row)
            else:
                rows[row["split"]].append(row)
    used = {row["class"] for part in rows.values() for row in part}
    names = [name for name in names if name in used]
    splits = {split: _split(part, names)
              for split, part in rows.items() if part}
    return dataset.Dataset(splits, names, rejected)


def _walk(root):
    """Yield a `ListedFile` for each file; its reason is None or known."""
    def stop(error):
        """Raise a SourceError about a folder that cannot be listed."""
        raise errors.SourceError(f"{error.filename}: cannot be listed "
                                 f"({error.strerror})") from error

    for folder, folders, names in os.walk(root, onerror=stop):
        inner = os.path.relpath(folder, root)
        if not folders and not names and inner != os.curdir:
            yield _listed_file(
                inner, rejected_files.NOT_READ + "an empty folder")
        for name in folders[:]:
            path = os.path.normpath(os.path.join(inner, name))
            reason = _skip_reason(path) or _unreadable_reason(
                os.path.join(root, path))
            if reason:    # or else os.walk enters it
                folders.remove(name)
                yield _listed_file(path, reason)
        for name in names:
            path = os.path.normpath(os.path.join(inner, name))
            yield _listed_file(
                path, _skip_reason(path) or _unreadable_reason(path))


def _listed_file(path, reason):
    """Return the `ListedFile` of a path in the source: split and class."""
    split, *inner = path.split(os.sep)
    split = FOLDERS.get(split)
    class_name = None
    if split and len(inner) >= 2:
        class_name = unicodedata.normalize("NFC", inner[0])
    elif split and not reason:
        reason = "not in a class folder"
    return rejected_files.ListedFile(
        os.fsencode(path).decode(errors="replace"), split, class_name, reason)


def _skip_reason(path):
    """Return why the path in the source is skipped, or None."""
    name = os.path.basename(path)
    if name.startswith(".") or name in rejected_files.HIDDEN:
        return rejected_files.NOT_READ + "hidden"
    if path.split(os.sep)[0] not in FOLDERS:
        return rejected_files.NOT_READ + "in none of the splits"
    return None


def _unreadable_reason(path):
    """Return why the folder or file `path` cannot be read, or None."""
    try:
        path.encode()
    except UnicodeError:
        return "its name is not UTF-8"
    if os.path.islink(path) and os.path.isdir(path):
        return "a link to a folder"
    return None


def _examine(root, listed):
    """Return the row of the file `listed`, or `listed` with the reason."""
    if listed.reason:
        return listed
    try:
        data = decoding.read(root, listed.file)
        pixels = decoding.decode(data)
    except errors.PictureError as error:
        return listed._replace(reason=str(error))
    return {"image": listed.file, "class": listed.class_name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "jpeg": jpeg.matches(pixels, data),
            "split": listed.split, "digest": digests.of_rows([pixels])[0]}


def _split(rows, names):
    """Return the `dataset.Split` of these rows; its array has no pixels."""
    index = {name: k for k, name in enumerate(names)}
    return dataset.Split(
        np.empty((len(rows), 0, 0, 3), np.uint8),
        np.array([index[row["class"]] for row in rows],
                 dataset.label_dtype(names)),
        [{key: row[key] for key in ("image", "class", "sha256", "jpeg")}
         for row in rows],
        np.array([row["digest"] for row in rows]))
