#!/usr/bin/env python3
"""Data whose images are files: each file becomes a row, or is rejected."""
import hashlib
import os

import numpy as np
import psutil

from stages.lib.common import (
    digests, errors, files, image_table, parallel, progress)
from stages.lib.images import decoding
from stages.lib.sources import dataset, known_pictures


def load(root, listed, max_megapixels):
    """Return the `dataset.Dataset` of these files, rows sorted by path.

    Args:
        root: folder to which their paths are relative.
        listed: list of `rejected_files.ListedFile`.
        max_megapixels: data.max_megapixels.
    """
    listed = sorted(listed, key=lambda one: one.file)
    rejected, good = [], np.zeros(len(listed), bool)
    pictures = np.empty(len(listed), known_pictures.ROW)
    budget = _budget(max_megapixels)
    known = known_pictures.KnownPictures(max_megapixels)
    with progress.bar("prepare", len(listed)) as bar:
        for k, (one, found) in enumerate(zip(listed, parallel.ordered(
                lambda one: _examine(root, one, max_megapixels, budget,
                                     known), listed))):
            bar.update()
            if isinstance(found, str):
                rejected.append(one._replace(reason=found))
            else:
                pictures[k], good[k] = found, True
    known.write(pictures[good])
    names = sorted({listed[k].class_name for k in np.flatnonzero(good)})
    of_split = {split: [k for k in np.flatnonzero(good)
                        if listed[k].split == split]
                for split in files.SPLITS}
    splits = {split: _split([listed[k] for k in rows], pictures[rows], names)
              for split, rows in of_split.items() if rows}
    return dataset.Dataset(splits, names, rejected)


def _budget(max_megapixels):
    """Print what the largest allowed pictures need of memory, at most.

    Returns:
        parallel.MemoryBudget: all free memory; threads wait for their share.
    """
    free = psutil.virtual_memory().available
    need = decoding.memory(max_megapixels)
    print(f"prepare: a picture of {max_megapixels:g} megapixels needs up to "
          f"{files.readable(need)} of memory, on each of {parallel.CORES} "
          f"cores; {files.readable(free)} are free", flush=True)
    return parallel.MemoryBudget(free)


def _examine(root, listed, max_megapixels, budget, known):
    """Return the file `listed` as a `known_pictures.ROW`, or a reason, str,
    for which it is rejected.
    """
    if listed.reason:
        return listed.reason
    try:
        data = decoding.read(os.path.join(root, listed.file), max_megapixels)
        sha256 = hashlib.sha256(data).digest()
        found = known.get(sha256)
        if found is None:
            found = (np.frombuffer(sha256, np.uint8),
                     *_decode(data, max_megapixels, budget))
        return found
    except errors.PictureError as error:
        return str(error)


def _decode(data, max_megapixels, budget):
    """Return size, "jpeg" and digest of a picture; see `known_pictures`."""
    from stages.lib.images import jpeg    # starts TensorFlow
    pixels = decoding.decode(data, max_megapixels, budget)
    return (pixels.shape[:2], jpeg.matches(pixels, data, budget),
            digests.of_rows([pixels])[0])


def _split(listed, pictures, names):
    """Return the `dataset.Split` of these files; its array has no pixels."""
    index = {name: k for k, name in enumerate(names)}
    return dataset.Split(
        np.empty((len(listed), 0, 0, 3), np.uint8),
        np.array([index[one.class_name] for one in listed],
                 dataset.label_dtype(names)),
        image_table.build((one.file for one in listed),
                          (one.class_name for one in listed), pictures),
        pictures["digest"])
