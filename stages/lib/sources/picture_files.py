#!/usr/bin/env python3
"""Data whose images are files: each file becomes a row, or is rejected."""
import hashlib
import os

import numpy as np
import psutil

from stages.lib.common import digests, errors, files, parallel, progress
from stages.lib.images import decoding
from stages.lib.sources import dataset, known_pictures, rejected_files


def load(root, listed, max_megapixels):
    """Return the `dataset.Dataset` of these files, rows sorted by path.

    Args:
        root: folder to which their paths are relative.
        listed: list of `rejected_files.ListedFile`.
        max_megapixels: data.max_megapixels.
    """
    listed = sorted(listed, key=lambda one: one.file)
    rows, rejected = {split: [] for split in files.SPLITS}, []
    budget = _budget(max_megapixels)
    known = known_pictures.KnownPictures(max_megapixels)
    with progress.bar("prepare", len(listed)) as bar:
        for row in parallel.ordered(lambda one: _examine(
                root, one, max_megapixels, budget, known), listed):
            bar.update()
            if isinstance(row, rejected_files.ListedFile):
                rejected.append(row)
            else:
                rows[row["split"]].append(row)
    known.write()
    names = sorted({row["class"] for part in rows.values() for row in part})
    splits = {split: _split(part, names)
              for split, part in rows.items() if part}
    return dataset.Dataset(splits, names, rejected)


def _budget(max_megapixels):
    """Print what the largest allowed pictures need of memory, at most.

    Returns:
        parallel.MemoryBudget: all free memory; threads wait for their share.
    """
    free = psutil.virtual_memory().available
    need = decoding.memory(max_megapixels)
    print(f"prepare: a picture of {max_megapixels:g} megapixels needs up to "
          f"{files.readable(need)} of memory; {parallel.CORES} cores, "
          f"{files.readable(free)} are free", flush=True)
    return parallel.MemoryBudget(free)


def _examine(root, listed, max_megapixels, budget, known):
    """Return the row of the file `listed`, or `listed` with the reason."""
    if listed.reason:
        return listed
    try:
        data = decoding.read(os.path.join(root, listed.file))
        sha256 = hashlib.sha256(data)
        found = known.get(sha256.digest())
        if found is None:
            found = known.add(sha256.digest(), *_decode(
                data, max_megapixels, budget))
    except errors.PictureError as error:
        return listed._replace(reason=str(error))
    return {"image": listed.file, "class": listed.class_name,
            "sha256": sha256.hexdigest(), "split": listed.split, **found}


def _decode(data, max_megapixels, budget):
    """Return size, "jpeg" and digest of a picture; see `KnownPictures`."""
    from stages.lib.images import jpeg    # starts TensorFlow
    pixels = decoding.decode(data, max_megapixels, budget)
    return (pixels.shape[:2], jpeg.matches(pixels, data, budget),
            digests.of_rows([pixels])[0])


def _split(rows, names):
    """Return the `dataset.Split` of these rows; its array has no pixels."""
    index = {name: k for k, name in enumerate(names)}
    return dataset.Split(
        np.empty((len(rows), 0, 0, 3), np.uint8),
        np.array([index[row["class"]] for row in rows],
                 dataset.label_dtype(names)),
        [{key: row[key] for key in ("image", "class", "sha256", "size",
                                    "jpeg")} for row in rows],
        np.array([row["digest"] for row in rows]))
