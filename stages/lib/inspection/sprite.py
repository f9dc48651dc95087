#!/usr/bin/env python3
"""Many small pictures in one image, row by row."""
import io
import math

import numpy as np
from PIL import Image

from stages.lib.common import arrays, errors, files


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


def pictures(split, count):
    """Return the images of `split`, uint8 (count, h, w, 3), memory-mapped.

    The prepared images, or for a folder the resized ones.
    """
    path = f"data/prepared/{split}_x.npy"
    found = arrays.open_array(path, ndim=4)
    if not found.size:
        path = f"data/resized/{split}_x.npy"
        found = arrays.open_array(path, ndim=4)
    if len(found) != count:
        raise errors.ArtefactError(
            f"{path} has {len(found)} rows, features/{split}"
            f"_x.npy {count}; run `dvc repro`")
    return found
