#!/usr/bin/env python3
"""All cached features as vectors: one row for each image."""
import os
import tempfile
from typing import Dict, NamedTuple, Optional

import numpy as np

from stages.lib.cache import row_store
from stages.lib.common import arrays, errors, files, image_table, manifest

BLOCK = 1 << 26    # bytes read at a time
LARGE = 1 << 30    # bytes of features that are not kept in memory
FOLDER = "build"


class CachedFeatures(NamedTuple):
    """The images of all splits; row k of each array is the same image.

    vectors: float32 (n, d), maps pooled; may contain NaN and infinity.
    labels, split, row: integer (n,); `split` counts in `files.SPLITS`.
    images: digests of the pixels, void (n,) of `digests.DIGEST` bytes.
    files: `ImageTable` of the files of each split; None for arrays.
    """

    vectors: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    row: np.ndarray
    images: np.ndarray
    files: Dict[str, Optional[image_table.ImageTable]]
    manifest: dict

    @property
    def names(self):
        """Return the class names, in the order of the labels."""
        return self.manifest["class_names"]

    def where(self, k):
        """Return split, row and, of a folder, file of the image `k`."""
        split = files.SPLITS[self.split[k]]
        found = {"split": split, "row": int(self.row[k])}
        if self.files[split]:
            found["file"] = self.files[split][self.row[k]]["image"]
        return found

    def in_split(self, split):
        """Return which images belong to `split`, bool (n,)."""
        return self.split == files.SPLITS.index(split)


def load():
    """Return all cached features.

    Raises:
        ArtefactError: a file is missing, damaged or belongs to another run.
    """
    parts = []
    for split in files.SPLITS:
        x, y = manifest.labelled(split)
        parts.append((x, y, _images(split, len(x)),
                      _files(split, len(x))))
    return join(parts, manifest.read())


def join(parts, content):
    """Return the `CachedFeatures` of all splits.

    Args:
        parts: (features, labels, images, files) of each of `files.SPLITS`.
        content: of the manifest.
    """
    lengths = [len(part[1]) for part in parts]
    labels, images = (np.concatenate([part[k] for part in parts])
                      for k in (1, 2))
    return CachedFeatures(
        _joined([part[0] for part in parts]), labels.astype(np.int64),
        np.repeat(np.arange(len(parts)), lengths),
        np.concatenate([np.arange(n) for n in lengths]),
        np.ascontiguousarray(images).view("V16")[:, 0],
        {split: part[3] for split, part in zip(files.SPLITS, parts)}, content)


def pooled(x):
    """Return the rows of `x`, float (n, …, d), as vectors, float32 (n, d).

    A map becomes the mean over its positions.
    """
    vectors = np.empty((len(x), x.shape[-1]), np.float32)
    for rows in blocks(x):
        part = x[rows].astype(np.float32)
        with np.errstate(invalid="ignore"):    # infinity minus infinity
            vectors[rows] = part.reshape(len(part), -1, x.shape[-1]).mean(1)
    return vectors


def _joined(arrays_of_splits):
    """Return the rows of all arrays as vectors, float32 (n, d).

    They are in memory, or, if they are `LARGE`, in a file that vanishes with
    this process.
    """
    depth = arrays_of_splits[0].shape[-1]
    shape = sum(map(len, arrays_of_splits)), depth
    parts = (pooled(x[rows]) for x in arrays_of_splits for rows in blocks(x))
    if 4 * shape[0] * depth <= LARGE:
        vectors, first = np.empty(shape, np.float32), 0
        for part in parts:
            vectors[first:first + len(part)] = part
            first += len(part)
        return vectors
    os.makedirs(FOLDER, exist_ok=True)
    with files.storage_errors(FOLDER), tempfile.TemporaryFile(
            dir=FOLDER) as file:
        for part in parts:
            file.write(part.data)
        file.flush()
        return np.asarray(np.memmap(file, np.float32, "r", shape=shape))


def blocks(x):
    """Yield slices of the rows of `x`, about `BLOCK` bytes each."""
    step = max(1, BLOCK // max(1, x[:1].nbytes))
    for k in range(0, len(x), step):
        yield slice(k, k + step)


def _images(split, count):
    """Return the digests of the images of `split`, uint8 (count, 16)."""
    path = row_store.paths("features", split)[1]
    table = arrays.open_array(path, ndim=1)
    if table.dtype != row_store.TABLE or len(table) != count:
        raise files.unusable(path, "not the table of this array")
    return table["image"]


def _files(split, count):
    """Return the `ImageTable` of the files of `split`; None for arrays."""
    path = f"data/prepared/{split}_rows.npy"
    rows = image_table.read(path)
    if len(rows) != count:
        raise errors.ArtefactError(
            f"{path} has {len(rows)} rows, features/{split}"
            f"_x.npy {count}; run `dvc repro`")
    return rows if rows.of_files else None
