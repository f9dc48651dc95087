#!/usr/bin/env python3
"""List all files of a folder, with the reason why one is not read."""
import os
from typing import NamedTuple, Optional

from stages.lib.common import errors, files

NOT_READ = "not read: "    # prefix of reasons that are not errors
SIDE_FILES = ("txt", "md", "rst", "log", "json", "jsonl", "csv", "tsv", "xml",
              "yaml", "yml", "html", "ini", "cfg", "npy", "npz", "mat", "pkl",
              "parquet", "cache", "dvc", "py", "ipynb", "sh")
EMPTY = NOT_READ + "an empty folder"
LINK = "a link to a folder"


class Listed(NamedTuple):
    """A file, or a folder that is not entered.

    Attributes:
        path: relative to the listed folder.
        reason: why it is not read, None for other files.
        files: the files in it; 1 for a file, 0 for an empty folder.
    """

    path: str
    reason: Optional[str]
    files: int = 1


def walk(root, splits=()):
    """Yield a `Listed` for all that is in `root`, sorted by path in a folder.

    Hidden and system files, and files that tools write beside images, are not
    read.  Links to files are followed.  Links to folders are not: DVC does
    not notice changes behind them (measured with DVC 3.67).

    Args:
        root: the folder.
        splits: names of the folders in it that are read; empty: all.

    Raises:
        SourceError: a folder cannot be listed.
    """
    for folder, folders, names in os.walk(root, onerror=_stop):
        inner = os.path.relpath(folder, root)
        inner = "" if inner == os.curdir else inner
        if not folders and not names and inner:
            yield Listed(inner, EMPTY, 0)
        for name in sorted(folders):
            path = os.path.join(inner, name)
            reason = _folder_reason(os.path.join(folder, name), name)
            if splits and not inner and name not in splits:
                reason = NOT_READ + "in none of the splits"
            if reason:    # or else os.walk enters it
                folders.remove(name)
                yield Listed(path, reason, _count(os.path.join(root, path)))
        folders.sort()
        for name in sorted(names):
            yield Listed(os.path.join(inner, name), _file_reason(name))


def kind(name):
    """Return the ending of a file's name, such as ".txt"; "" if none."""
    return os.path.splitext(name)[1].lower()


def _stop(error):
    """Raise a SourceError about a folder that cannot be listed."""
    raise errors.SourceError(f"{error.filename}: cannot be listed "
                             f"({error.strerror})") from error


def _folder_reason(path, name):
    """Return why a folder is not entered, or None."""
    if files.is_hidden(name):
        return NOT_READ + "hidden"
    if os.path.islink(path):
        return LINK
    return _name_reason(name)


def _file_reason(name):
    """Return why a file is not read, or None."""
    if files.is_hidden(name):
        return NOT_READ + "hidden"
    if kind(name)[1:] in SIDE_FILES:
        return NOT_READ + kind(name)
    return _name_reason(name)


def _name_reason(name):
    """Return why a name cannot be used, or None."""
    try:
        name.encode()
    except UnicodeError:
        return "its name is not UTF-8"
    return None


def _count(folder):
    """Return the number of files in a folder, at least 1."""
    return max(1, sum(len(names) for _, _, names in os.walk(folder)))
