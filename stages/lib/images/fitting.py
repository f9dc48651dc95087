#!/usr/bin/env python3
"""Open a photograph that is no image of a data set; bring it to their size."""
import sys

import numpy as np
from PIL import Image, ImageOps

from stages.lib.images import decoding


def pixels(path, limit):
    """Return the pixels of the image `path`, or - for standard input.

    Args:
        path: of a file.
        limit: as `decoding.decode`, in megapixels.

    Raises:
        PictureError, StorageError: with the reason.
    """
    return decoding.decode(sys.stdin.buffer.read() if path == "-"
                           else decoding.read(path, limit), limit)


def fit(pixels, shape, mode):
    """Return `pixels` scaled to an array's images, uint8 (*shape, 3).

    Args:
        pixels: uint8 (h, w, 3).
        shape: height and width.
        mode: resize.mode, for another ratio of height and width.
    """
    height, width = shape
    image, bilinear = Image.fromarray(pixels), Image.Resampling.BILINEAR
    if mode == "pad":    # `ImageOps.pad` fails if a side becomes 0
        ratio = min(width / image.width, height / image.height)
        inner = [max(1, round(side * ratio)) for side in image.size]
        image, whole = image.resize(inner, bilinear), Image.new(
            "RGB", (width, height))
        whole.paste(image, [(all_of - part) // 2 for all_of, part in zip(
            whole.size, inner)])
        return np.asarray(whole)
    scale = ImageOps.fit if mode == "crop" else Image.Image.resize
    return np.asarray(scale(image, (width, height), bilinear))
