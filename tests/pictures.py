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
            "bomb.png": (png_header(20000, 20000), "too large: 20000 "
                         "x 20000 pixels, 200 megapixels are allowed "
                         "(data.max_megapixels)")}


def chunk(name, data, wrong=0):
    """Return a chunk of PNG; its checksum is wrong unless `wrong` is 0."""
    return (struct.pack(">I", len(data)) + name + data
            + struct.pack(">I", zlib.crc32(name + data) ^ wrong))


def segment(marker, data):
    """Return a segment of JPEG."""
    return struct.pack(">HH", marker, len(data) + 2) + data


def exif(orientation, kind=3, more=(), head=b"II*\0"):
    """Return Exif data.

    Args:
        orientation: its value, of the type `kind`.
        more: (tag, type, count, value or offset) of tags before it.
        head: the first bytes; others than these are written for raw files.
    """
    order = "<" if head.startswith(b"II") else ">"
    tags = [*more, (0x112, kind, 1, orientation)]
    found = head + struct.pack(order + "IH", 8, len(tags))
    for tag, one, count, value in tags:
        value = struct.pack(order + {3: "Hxx", 8: "hxx"}.get(one, "I"), value)
        found += struct.pack(order + "HHI", tag, one, count) + value
    return found + bytes(4) + struct.pack(order + "ii", -1, 0)


def with_metadata(data, random):
    """Return a file with damaged metadata of all kinds of its format.

    Args:
        data: bytes of a JPEG, PNG, WebP or GIF.
        random: `random.Random`.
    """
    noise_of = [random.randbytes(random.choice([0, 1, 5, 9, 30, 300]))
                for _ in range(4)]
    if data.startswith(b"\xff\xd8"):
        parts = [segment(random.choice([0xffe0, 0xffe1, 0xffe2, 0xffed, 0xffee,
                                        0xfffe]), random.choice(
            [b"", b"JFIF", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff",
             b"ICC_PROFILE\0", b"MPF\0MM\0*", b"Adobe", b"FPXR\0",
             b"Photoshop 3.0\x008BIM\x03\xed"]) + one) for one in noise_of]
        return data[:2] + b"".join(parts) + data[2:]
    if data.startswith(b"\x89PNG"):
        names = (b"tEXt zTXt iTXt iCCP sRGB gAMA cHRM pHYs eXIf acTL fcTL "
                 b"fdAT tIME bKGD hIST sPLT sBIT zzZz").split()
        parts = [chunk(random.choice(names), random.choice(
            [b"", b"note\0\0", b"note\0\1\0\0\0",
             b"Raw profile type exif\0"]) + one, random.randrange(2))
            for one in noise_of]
        return data[:33] + b"".join(parts[1:]) + data[33:-12] + (
            parts[0] + data[-12:])
    if data.startswith(b"GIF"):
        at = 13 + (6 << (data[10] & 7)) * (data[10] >> 7)
        parts = [b"!" + random.choice([b"\xfe", b"\xff", b"\1", b"\2"])
                 + bytes([len(one)]) * bool(one) + one + b"\0"
                 for one in (one[:255] for one in noise_of)]
        return data[:at] + b"".join(parts) + data[at:]
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    parts = [random.choice([b"EXIF", b"XMP ", b"ICCP", b"zzzz"])
             + struct.pack("<I", len(one)) + one + bytes(len(one) % 2)
             for one in noise_of]
    if data[12:16] != b"VP8X":
        data = data[:12] + b"VP8X" + struct.pack(
            "<IIHBHB", 10, 0x2c, width - 1, 0, height - 1, 0) + data[12:]
    data += b"".join(parts)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def bmp(pixels, alpha, masks, header):
    """Return a BMP of 32 bits a pixel.

    Args:
        pixels: uint8 (h, w, 3).
        alpha: uint8 (h, w).
        masks: of red, green, blue and alpha; None: without masks.
        header: its size, which tells its version.
    """
    height, width = alpha.shape
    values = np.dstack([pixels, alpha])[::-1].astype(np.uint32)
    words = sum(values[:, :, k] * (mask // 255) for k, mask in enumerate(
        masks or (0xff0000, 0xff00, 0xff, 0xff000000)))
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, 32,
                       3 if masks else 0, words.nbytes, 2835, 2835, 0, 0)
    info += struct.pack("<IIII", *(masks or [0] * 4))
    info = info[:max(header, 52 if masks else 40)].ljust(header, b"\0")
    return b"BM" + struct.pack(
        "<IHHI", 14 + len(info) + words.nbytes, 0, 0, 14 + len(info)
    ) + info + words.astype("<u4").tobytes()


def put(path, data):
    """Write the bytes `data` to the new file `path`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
