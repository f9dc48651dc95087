#!/usr/bin/env python3
"""Which image each row of a split is: a table in `.npy`, read as it is needed.

A million rows are some 100 MB on disk and none in memory.  Texts are UTF-8.
"""
import os

import numpy as np

from stages.lib.common import arrays, files

# For images that are files: SHA-256, (h, w), whether TensorFlow decodes it.
OF_FILES = [("sha256", np.uint8, 32), ("size", np.int32, 2),
            ("jpeg", np.bool_)]


def build(images, classes, of_files=None):
    """Return the table, a structured array (n,).

    Args:
        images: n names, an iterable of str.
        classes: class of each, str (n,).
        of_files: field of `OF_FILES` -> a value for each row; None for the
            images of an array.
    """
    encoded = [np.array([text.encode() for text in texts], "S")
               for texts in (images, classes)]
    found = np.empty(len(encoded[0]), [
        *((name, f"S{max(1, column.itemsize)}")
          for name, column in zip(("image", "class"), encoded)),
        *(OF_FILES if of_files is not None else ())])
    found["image"], found["class"] = encoded
    for name, *_ in OF_FILES if of_files is not None else ():
        found[name] = of_files[name]
    return found


def read(path):
    """Return the `ImageTable` in the file `path`.

    Raises:
        ArtefactError: missing, damaged, or another array.
    """
    table = arrays.open_array(path, ndim=1)
    if not table.dtype.names or table.dtype.names[:2] != ("image", "class"):
        raise files.unusable(path, "not a table of images")
    return ImageTable(table)


class ImageTable:
    """The rows of a table, from 0; each a dictionary.

    Attributes:
        table: the structured array.
        of_files: whether the images are files.
    """

    def __init__(self, table):
        """Keep the structured array `table`, as `build` returns it."""
        self.table = table
        self.of_files = "sha256" in table.dtype.names

    def __len__(self):
        """Return the number of rows."""
        return len(self.table)

    def __getitem__(self, row):
        """Return "image" and "class", str; of a file, also "sha256",
        hexadecimal, "size", (h, w), and "jpeg", bool.
        """
        found = self.table[row]
        return {"image": found["image"].decode(),
                "class": found["class"].decode(), **({
                    "sha256": found["sha256"].tobytes().hex(),
                    "size": tuple(found["size"].tolist()),
                    "jpeg": bool(found["jpeg"])} if self.of_files else {})}

    def named(self, path):
        """Return the rows whose image is `path` or ends with it, int64 (k,).

        It ends with whole names of files and folders.
        """
        images, path = self.table["image"], os.fsencode(path)
        return np.flatnonzero((images == path) | np.char.endswith(
            images, os.sep.encode() + path))
