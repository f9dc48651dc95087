#!/usr/bin/env python3
"""Image files for the tests: every format, and every kind of bad file."""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

RED, BLUE = (215, 40, 40), (40, 40, 215)


def noise(height, width, seed=0):
    """Return random pixels, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(image, kind, **options):
    """Return the bytes of a file of the format `kind`.

    Args:
        image: Pillow's, or uint8 (h, w) or (h, w, 3).
    """
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """Return a PNG with this size in its header and no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data
        + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)


def formats():
    """Return name -> (bytes, expected pixels, largest difference allowed)."""
    pixels = noise(6, 9)
    two = np.where(pixels[:, :, :1] < 128, np.uint8(RED), np.uint8(BLUE))
    grey = np.repeat(pixels[:, :, :1], 3, axis=2)
    smooth = np.full((16, 24, 3), RED, np.uint8)
    smooth[:8] = BLUE    # JPEG keeps blocks of one colour
    alpha = Image.fromarray(two)
    alpha.putalpha(Image.fromarray(pixels[:, :, 1] // 128 * 255))
    on_white = np.where(pixels[:, :, 1:2] < 128, np.uint8(255), two)
    palette = Image.fromarray(two).quantize(2)
    clear = palette.copy()
    clear.info["transparency"] = palette.getpixel((0, 0))
    upright = Image.fromarray(two).getexif()
    upright[0x0112] = 6    # to be turned to the right
    frames = [Image.new("RGB", (9, 6), colour) for colour in (RED, BLUE)]
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 256 + 200)
    return {
        "rgb.png": (saved(pixels, "PNG"), pixels, 0),
        "lossless.webp": (saved(pixels, "WEBP", lossless=True), pixels, 0),
        "rgb.bmp": (saved(pixels, "BMP"), pixels, 0),
        "smooth.jpg": (saved(smooth, "JPEG", quality=95, subsampling=0),
                       smooth, 4),
        "cmyk.jpg": (saved(Image.fromarray(smooth).convert("CMYK"), "JPEG",
                           quality=95, subsampling=0), smooth, 8),
        "turned.jpg": (saved(smooth, "JPEG", quality=95, subsampling=0,
                             exif=upright),
                       np.rot90(smooth, -1), 4),
        "grey.png": (saved(pixels[:, :, 0], "PNG"), grey, 0),
        "deep.png": (saved(deep, "PNG"), grey, 0),
        "black_white.png": (saved(Image.fromarray(grey).convert(
            "L").point(lambda v: 255 * (v > 127)).convert("1"), "PNG"),
            np.where(grey > 127, np.uint8(255), np.uint8(0)), 0),
        "palette.png": (saved(palette, "PNG"), two, 0),
        "clear.png": (saved(clear, "PNG"), np.where(
            (two == two[0, 0]).all(axis=2, keepdims=True), np.uint8(255),
            two), 0),
        "alpha.png": (saved(alpha, "PNG"), on_white, 0),
        "alpha.webp": (saved(alpha, "WEBP", lossless=True), on_white, 0),
        "grey_alpha.png": (saved(alpha.convert("LA"), "PNG"), np.where(
            pixels[:, :, 1:2] < 128, np.uint8(255), np.asarray(
                Image.fromarray(two).convert("L").convert("RGB"))), 0),
        "moving.gif": (saved(frames[0], "GIF", save_all=True,
                             append_images=frames[1:]),
                       np.full((6, 9, 3), RED), 0),
        "moving.webp": (saved(frames[0], "WEBP", save_all=True, lossless=True,
                              append_images=frames[1:]),
                        np.full((6, 9, 3), RED), 0)}


def bad():
    """Return name -> (bytes, the reason for the rejection)."""
    found = {f"cut.{kind}": (data[:len(data) * 2 // 3], "truncated")
             for kind in ("jpeg", "png", "webp", "bmp", "gif")
             for data in [saved(noise(20, 20), kind.upper())]}
    broken = bytearray(saved(noise(20, 20), "PNG"))
    broken[200] ^= 255
    return {**found,
            "empty.jpg": (b"", "empty file"),
            "text.jpg": (b"no image", "not an image (JPEG, PNG, WEBP, BMP, "
                                      "GIF)"),
            "broken.png": (bytes(broken), "damaged: broken data stream when "
                                          "reading image file"),
            "flat.png": (png_header(9, 0), "zero-sized"),
            "flat.bmp": (saved(noise(4, 4), "BMP")[:18] + bytes(36),
                         "zero-sized"),
            "head.jpg": (b"\xff\xd8\xff\xe0", "truncated or damaged header"),
            "long.png": (png_header(20000, 9), "too long: 20000 x 9 pixels, "
                                               "16,384 a side are allowed"),
            "bomb.png": (png_header(20000, 20000), "decompression bomb: 20000 "
                         "x 20000 pixels, 89,478,485 are allowed")}


def put(path, data):
    """Write the bytes `data` to the new file `path`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
