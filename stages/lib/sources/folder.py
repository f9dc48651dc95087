#!/usr/bin/env python3
"""A folder of images, with a sub-folder for each class.

    train/<class>/…  validation/<class>/…  test/<class>/…

or the classes directly in it.  `split_names` has other names of the splits.
"""
import os
import unicodedata

from stages.lib.common import errors, files
from stages.lib.sources import (
    picture_files, rejected_files, split_names, walk)

LAYOUT = ("a source folder contains train/<class>/<image> and optionally "
          "validation/ and test/, or <class>/<image>")


def load(root, given):
    """Return the `dataset.Dataset` in the folder `root`, rows by path.

    Args:
        root: the folder.
        given: `params.Data`.

    Raises:
        SourceError: the folders are no source, or there is a link to one.
    """
    splits = find_splits(root)
    listed = [_listed_file(one, splits) for one in walk.walk(root, splits)]
    for one in listed:
        if one.reason == walk.LINK:
            raise errors.SourceError(
                f"{os.path.join(root, one.file)}: a link to a folder, behind "
                "which DVC does not notice changes; replace it by a folder "
                "of links to files (`cp -rs`), or by the folder itself")
    return picture_files.load(root, listed, given.max_megapixels)


def find_splits(root):
    """Return folder -> split; empty if the classes are directly in `root`.

    A folder such as train/ is a split if it, or another such folder, contains
    folders; else it is a class of this name.

    Raises:
        SourceError: train/ is missing, two folders mean one split, or the
            name of a folder resembles that of a split.
    """
    folders = _folders(root)
    nested = [name for name in folders if _folders(os.path.join(root, name))]
    splits = [name for name in folders if split_names.find(name)]
    if not splits or not (set(splits) & set(nested) or splits == folders):
        for name in nested:
            split_names.check(name, root, "{}/")
        return {}
    found = {}
    for name in folders:
        split = split_names.find(name)
        if not split:
            split_names.check(name, root, "{}/")
        elif split in found.values():
            same = next(other for other in found if found[other] == split)
            raise errors.SourceError(f"{root}: {same}/ and {name}/ are the "
                                     "same split; keep one of them")
        else:
            found[name] = split
    if "train" not in found.values():
        raise errors.SourceError(f"{root}: no train/ in it; {LAYOUT}")
    return found


def _folders(path):
    """Return the names of the folders in a folder, hidden ones left out."""
    try:
        return sorted(entry.name for entry in os.scandir(path)
                      if entry.is_dir() and not files.is_hidden(entry.name))
    except OSError as error:
        raise errors.SourceError(f"{error.filename}: cannot be listed "
                                 f"({error.strerror})") from error


def _listed_file(one, splits):
    """Return the `ListedFile` of a `walk.Listed`: its split and class."""
    parts, reason = one.path.split(os.sep), one.reason
    split, class_name = "train", None
    if splits:
        split = splits.get(parts.pop(0))
    is_class = len(parts) > 1 or reason == walk.EMPTY
    if is_class and parts:
        class_name = unicodedata.normalize("NFC", parts[0])
    elif not reason:
        reason = "not in a class folder"
    return rejected_files.ListedFile(
        os.fsencode(one.path).decode(errors="replace"), split, class_name,
        reason, one.files)
