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
        PictureError: with the reason.
    """
    return decoding.decode(sys.stdin.buffer.read() if path == "-"
                           else decoding.read(path), limit)


def fit(pixels, shape, mode):
    """Return `pixels` scaled to an array's images, uint8 (*shape, 3).

    Args:
        pixels: uint8 (h, w, 3).
        shape: height and width.
        mode: resize.mode, for another ratio of height and width.
    """
    height, width = shape
    scale = {"stretch": Image.Image.resize, "crop": ImageOps.fit,
             "pad": ImageOps.pad}[mode]
    return np.asarray(scale(Image.fromarray(pixels), (width, height),
                            Image.Resampling.BILINEAR))
