#!/usr/bin/env python3
"""Many small pictures in one image, row by row."""
import io
import math

import numpy as np
from PIL import Image

from stages.lib.cache import row_store
from stages.lib.common import arrays, digests, errors, files


def sprite(cached, chosen, side):
    """Return one picture of all chosen images, and its number of columns.

    Args:
        cached: `cached_features.CachedFeatures`.
        chosen: row numbers, in the order of the pictures.
        side: pixels, height and width of each picture.

    Returns:
        PIL.Image.Image, RGB, square except for empty last rows; columns.

    Raises:
        ArtefactError: the images do not belong to the features.
    """
    columns = math.ceil(math.sqrt(len(chosen)))
    whole = Image.new("RGB", (columns * side,
                              math.ceil(len(chosen) / columns) * side))
    sources = {split: pictures(split, int(cached.in_split(split).sum()))
               for split in files.SPLITS}
    for place, k in enumerate(chosen):
        pixels = sources[files.SPLITS[cached.split[k]]][cached.row[k]]
        picture = Image.fromarray(np.asarray(pixels))
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BOX)
        whole.paste(picture, (place % columns * side,
                              place // columns * side))
    return whole, columns


def encoded(picture, kind, **options):
    """Return the bytes of `picture` as a file of `kind`, "PNG" or "WEBP"."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


class Resized:
    """Resized images, each compared with its features when it is read.

    DVC has no copy of them, so it leaves those of another version in place
    when it restores an earlier commit.
    """

    def __init__(self, split, pixels):
        """Open the digests of the images that have features.

        Args:
            split: their split.
            pixels: uint8 (n, h, w, 3).
        """
        table = arrays.open_array(row_store.paths("features", split)[1], 1)
        self._split, self._pixels, self._images = split, pixels, table["image"]

    def __getitem__(self, row):
        """Return an image, uint8 (h, w, 3).

        Raises:
            ArtefactError: it is not the one that the features are of.
        """
        found = np.ascontiguousarray(self._pixels[row])
        if (digests.of_rows([found])[0] != self._images[row]).any():
            raise errors.ArtefactError(
                f"data/resized/{self._split}_x.npy: of other images than the "
                "features; run `dvc repro resize`")
        return found


def pictures(split, count):
    """Return the `count` images of `split`: each row is uint8 (h, w, 3).

    The prepared images, memory-mapped; for a folder, the `Resized` ones.
    """
    path = f"data/prepared/{split}_x.npy"
    found = arrays.open_array(path, ndim=4)
    of_files = not found.size
    if of_files:
        path = f"data/resized/{split}_x.npy"
        found = arrays.open_array(path, ndim=4)
    if len(found) != count:
        raise errors.ArtefactError(
            f"{path} has {len(found)} rows, features/{split}"
            f"_x.npy {count}; run `dvc repro`")
    return Resized(split, found) if of_files else found
