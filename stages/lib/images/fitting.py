#!/usr/bin/env python3
"""Scale a photograph to the size of the images of an array."""
import numpy as np
from PIL import Image, ImageOps


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
