#!/usr/bin/env python3
"""Decode image files; give a short reason for a file that is no image."""
import contextlib
import errno
import io
import os
import stat
import struct
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.lib.common import errors
from stages.lib.images import heif, metadata

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAGIC_NUMBERS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"GIF8")
SIZES = {b"\x89PNG": (16, ">II"), b"BM": (18, "<ii")}    # width, height
STRIP = 1 << 17    # pixels that become RGB at once: they stay in the cache
BYTES = 18    # memory a pixel while WebP, the most greedy one, is decoded
SMALL = 1.0    # megapixels that wait for no memory
STORED, METADATA = 8, 1 << 26    # largest size of a file: a pixel, and more
# Of a disk or a machine; a later run can succeed.
FAILURES = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE,
            errno.ETIMEDOUT)
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}    # of Exif
MIRRORED, SIDEWAYS = [{TURNS[k] for k in found}
                      for found in [(3, 4, 7, 8), (5, 6, 7, 8)]]
NO_WAIT = contextlib.nullcontext()

Image.MAX_IMAGE_PIXELS = None    # `decode` checks the size itself
warnings.filterwarnings("ignore", module="PIL")    # about metadata


def read(path, max_megapixels=None):
    """Return the bytes of the file `path`; links are followed.

    Raises:
        PictureError: it cannot be read, or is larger than any picture of
            `max_megapixels`.
        StorageError: the disk or this machine fails, not the file.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):    # reading a pipe would block
            raise errors.PictureError("not a regular file")
        if max_megapixels and found.st_size > (
                max_megapixels * 1e6 * STORED + METADATA):
            raise errors.PictureError(
                f"larger than any picture of {max_megapixels:g} megapixels "
                "(data.max_megapixels)")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise errors.PictureError("no such file, or a broken link") from error
    except OSError as error:
        if error.errno in FAILURES:
            raise errors.StorageError(f"{path}: cannot be read "
                                      f"({error.strerror})") from error
        raise errors.PictureError(f"unreadable: {error.strerror}") from error


def memory(megapixels):
    """Return the bytes that decoding a picture takes at most, int.

    Measured for every format: docs/experiments.md.  The file comes on top,
    and its copy without metadata.
    """
    return int(megapixels * 1e6 * BYTES)


def decode(data, max_megapixels=None, budget=None):
    """Return the picture in `data`, the bytes of a file, as RGB pixels.

    The image is turned upright by its orientation; other metadata are not
    read.  An animation gives its first frame; transparent pixels become
    white; 16 bits keep the upper 8; CMYK is converted without colour
    profiles.  HEIC needs pillow-heif, AVIF a Pillow that was built with it.

    Args:
        data: the bytes of a file.
        max_megapixels: data.max_megapixels; None: any size.
        budget: `parallel.MemoryBudget`, for pictures that are not small; or
            None.

    Returns:
        uint8 (h, w, 3), 0..255.

    Raises:
        PictureError: empty, not an image, truncated, zero-sized, damaged,
            larger than `max_megapixels`, or its format is not installed.
    """
    if not data:
        raise errors.PictureError("empty file")
    kind = heif.kind(data)
    formats = FORMATS if kind is None else heif.formats(kind)
    try:
        picture, orientation = metadata.separate(data)
        with Image.open(io.BytesIO(picture), formats=formats) as image:
            megapixels = image.width * image.height / 1e6
            if max_megapixels and megapixels > max_megapixels:
                raise errors.PictureError(
                    f"too large: {image.width} x {image.height} pixels, "
                    f"{max_megapixels:g} megapixels are allowed "
                    "(data.max_megapixels)")
            with budget.take(memory(megapixels)) if (
                    budget and megapixels > SMALL) else NO_WAIT:
                image.load()
                if kind == "AVIF":    # Pillow gives its box `irot` as Exif
                    orientation = image.getexif().get(metadata.ORIENTATION)
                return _pixels(image, orientation)
    except errors.PictureError:
        raise
    except Exception as error:    # a damaged file raises anything
        raise errors.PictureError(_reason(data, kind, error)) from error


def _pixels(image, orientation):
    """Return the pixels of a loaded Pillow image, turned upright.

    Large images are turned and converted in strips, which needs less memory.
    """
    if image.format == "BMP" and image.mode == "RGBA" and (
            image.getchannel("A").getextrema() == (0, 0)):
        image = image.convert("RGB")    # no program wrote this alpha
    turn, width = TURNS.get(orientation), image.width
    if width * image.height <= STRIP:
        return _rgb(image if turn is None else image.transpose(turn))
    sideways, mirrored = turn in SIDEWAYS, turn in MIRRORED
    size = image.size if sideways else image.size[::-1]
    found = np.empty((*size, 3), np.uint8)
    rows = max(1, STRIP // size[1])
    for top in range(0, size[0], rows):
        first, last = top, min(top + rows, size[0])
        if mirrored:    # the last row or column comes first
            first, last = size[0] - last, size[0] - first
        strip = image.crop((first, 0, last, image.height) if sideways
                           else (0, first, width, last))
        found[top:top + rows] = _rgb(
            strip if turn is None else strip.transpose(turn))
    return found


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


def _reason(data, kind, error):
    """Return why `error` was raised at the bytes `data`."""
    for magic_number, (offset, layout) in SIZES.items():
        if data.startswith(magic_number) and len(data) >= offset + 8:
            if 0 in struct.unpack_from(layout, data, offset):
                return "zero-sized"
    if isinstance(error, MemoryError):
        return "too little memory is free to decode it"
    if "truncated" in str(error).lower() or _truncated(data):
        return "truncated"
    damaged = f"damaged {kind}" if kind else "damaged"
    if not isinstance(error, UnidentifiedImageError):
        return f"{damaged}: {' '.join(str(error).split())}"
    if kind:
        return f"{damaged}: no picture in it can be opened"
    if data.startswith(MAGIC_NUMBERS):
        return "truncated or damaged header"
    return f"not an image ({', '.join(FORMATS)})"


def _truncated(data):
    """Return whether a WebP, HEIC or AVIF is shorter than its header says."""
    if data.startswith(b"RIFF"):
        return len(data) >= 8 and (
            len(data) < 8 + struct.unpack_from("<I", data, 4)[0])
    at = 0
    while data[4:8] == b"ftyp" and at + 8 <= len(data):
        size, = struct.unpack_from(">I", data, at)
        if size < 8:    # the rest of the file, or 64 bits
            return False
        at += size
    return at > len(data)
