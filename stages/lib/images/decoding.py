#!/usr/bin/env python3
"""Decode image files; give a short reason for a file that is no image."""
import io
import os
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.lib.common import errors

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
LONGEST = 16_384    # pixels of a side: `pad` makes a square
PIXELS = 89_478_485    # the limit above which Pillow warns: 256 MB of RGB
MAGIC_NUMBERS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8")
SIZES = {b"\x89PNG": (16, ">II"), b"BM": (18, "<ii")}    # width, height

Image.MAX_IMAGE_PIXELS = None    # `decode` checks the size itself
warnings.filterwarnings("ignore", module="PIL")    # about metadata


def read(root, path):
    """Return the bytes of the file `path`, which must be in `root`.

    Raises:
        PictureError: it is outside `root`, or cannot be read.
    """
    root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath([root, real]) != root:
        raise errors.PictureError("outside the folder")
    if not os.path.exists(real):
        raise errors.PictureError("no such file, or a broken link")
    if not os.path.isfile(real):    # reading a pipe would block
        raise errors.PictureError("not a regular file")
    try:
        with open(real, "rb") as file:
            return file.read()
    except OSError as error:
        raise errors.PictureError(f"unreadable: {error.strerror}") from error


def decode(data):
    """Return the picture in `data`, the bytes of a file, as RGB pixels.

    The image is turned upright by its EXIF orientation.  An animation gives
    its first frame; transparent pixels become white; 16 bits keep the upper
    8; CMYK is converted without colour profiles.

    Returns:
        uint8 (h, w, 3), 0..255.

    Raises:
        PictureError: empty, not an image, truncated, zero-sized, damaged, or
            a decompression bomb.
    """
    if not data:
        raise errors.PictureError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise errors.PictureError(
                    f"decompression bomb: {image.width} x {image.height} "
                    f"pixels, {PIXELS:,} are allowed")
            if max(image.size) > LONGEST:
                raise errors.PictureError(
                    f"too long: {image.width} x {image.height} pixels, "
                    f"{LONGEST:,} a side are allowed")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except errors.PictureError:
        raise
    except Exception as error:    # a damaged file raises anything
        raise errors.PictureError(_reason(data, error)) from error


def _rgb(image):
    """Return the pixels of an upright Pillow image."""
    if image.mode.startswith("I"):    # 16 bits of grey, in one of 5 modes
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255)
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _reason(data, error):
    """Return why Pillow raised `error` at the bytes `data`."""
    for magic_number, (offset, layout) in SIZES.items():
        if data.startswith(magic_number) and len(data) >= offset + 8:
            if 0 in struct.unpack_from(layout, data, offset):
                return "zero-sized"
    if "truncated" in str(error).lower() or _truncated_webp(data):
        return "truncated"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged: {error}"
    if data.startswith(MAGIC_NUMBERS):
        return "truncated or damaged header"
    return f"not an image ({', '.join(FORMATS)})"


def _truncated_webp(data):
    """Return whether `data` is WebP, but shorter than its header says."""
    return (data.startswith(b"RIFF") and len(data) >= 8
            and len(data) < 8 + struct.unpack_from("<I", data, 4)[0])
