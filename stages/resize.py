#!/usr/bin/env python3
"""Resize all images to the side of the backbone.

In:  data/prepared/{split}_x.npy  uint8 (n, h, w, 3), 0..255; for a folder
                                  (n, 0, 0, 3), then
     data/prepared/{split}_rows.npy  lists the files in data.source
     data/resized/                of a folder, what the previous run left
Out: data/resized/{split}_x.npy   uint8 (n, side, side, 3), 0..255
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from stages.lib.common import (
    arrays, digests, files, progress, seals, stage)
from stages.lib.images import (
    large_pictures, prepared, resized_rows, resizing)
from stages.lib.params import params

PATH = "data/resized/{}_x.npy"    # of a split


def make_room(splits, given, known):
    """Remove the arrays of the previous run, unless their rows are taken.

    Args:
        splits: name -> `prepared.Images`.
        given: `params.Resize`.
        known: `resized_rows.ResizedRows`, or None; forgets its rows if the
            new arrays do not fit beside the old ones.

    Returns:
        The bytes of the new arrays.

    Raises:
        PlanError: they do not fit on disk.
    """
    old = [path for path in map(PATH.format, splits) if os.path.exists(path)]
    size = sum(len(images) * given.side * given.side * 3
               for images in splits.values())
    room = shutil.disk_usage("data").free
    files.check_disk_space(
        "data/resized", size, room + sum(map(os.path.getsize, old)),
        "lower resize.side, or free disk space")
    # A new array is complete before it replaces the old one.
    if known and size <= room:    # it reads the old ones to the end
        return size
    if known is not None:
        known.forget()
    for path in old:
        os.unlink(path)
    return size


def write(split, images, given, budget, known):
    """Write the array of a split; return its path and `seals.digest`.

    Args:
        split: its name.
        images: its `prepared.Images`.
        given: `params.Resize`.
        budget, known: as for `resizing.resize`.
    """
    path = PATH.format(split)
    shape = (len(images), given.side, given.side, 3)
    with arrays.array_writer(path, "uint8", shape) as out, \
            progress.bar(f"resize {split}", len(images)) as bar, \
            ThreadPoolExecutor(1) as pool:
        tables = []
        for batch in resizing.resize(images, given, budget, known):
            table = pool.submit(digests.of_rows, batch)    # while it writes
            out.append(batch)
            tables.append(table.result())
            bar.update(len(batch))
        table = np.concatenate(tables)
    if known is not None:
        known.add(split, images.sha256(slice(None)), table)
    return path, seals.of_rows(out, table)


def main():
    """Write all splits at the side of the backbone; return their digests."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"    # each core has its own image
    read = params.read()
    given = read.resize
    splits = {split: prepared.Images(split, read.data.source)
              for split in files.SPLITS}
    known = None
    if splits["train"].of_files:    # arrays are read fast
        known = resized_rows.ResizedRows(given)
    size = make_room(splits, given, known)
    budget = large_pictures.plan(list(splits.values()), given,
                                 psutil.virtual_memory().available)
    found = dict(write(split, images, given, budget, known)
                 for split, images in splits.items())
    if known is not None:
        known.write()
    print(f"resize: {sum(map(len, splits.values())):,} images at "
          f"{given.side} px, {files.readable(size)}")
    return found


if __name__ == "__main__":
    stage.run(main)
