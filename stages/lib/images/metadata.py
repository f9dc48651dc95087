#!/usr/bin/env python3
"""Separate what makes the pixels of an image file from its metadata.

Text, profiles and comments are cut out before a library sees them, so that
none of them, damaged or huge, can refuse a picture.  Of all metadata, only the
orientation is read.
"""
import contextlib
import re
import struct
import zlib

EXIF, XMP, RAW = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", "raw profile"
UPRIGHT, ORIENTATION = 1, 0x0112    # Exif 2.32, 4.6.4
INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}    # types of TIFF 6.0
LONGEST_TEXT = 1 << 20    # bytes that are unpacked, to find an orientation
PNG_TEXTS = {b"XML:com.adobe.xmp": XMP, b"Raw profile type exif": RAW}
WEBP_PICTURE = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
HEAD = struct.Struct(">HH")    # of a segment of JPEG: marker, length
# A decoder of JPEG reads colours from these two, if they are long enough.
JPEG_COLOURS = {0xffe0: (b"JFIF\0", 14), 0xffee: (b"Adobe", 12)}
# Names of the items of HEIC and AVIF (ISO/IEC 14496-12, 8.11.6).
ITEM = re.compile(rb"infe(?:\x02.{7}|\x03.{9})(Exif|mime)", re.DOTALL)


def separate(data):
    """Return the bytes of an image file without metadata, and its orientation.

    Args:
        data: the bytes of a file, of any kind.

    Returns:
        bytes, and 1..8 as in Exif; 1, upright, if it cannot be read.  HEIC
        and AVIF are turned by their own boxes, not by Exif: always 1.
    """
    walk = next((walk for magic_number, walk in WALKS.items()
                 if data.startswith(magic_number)), _boxes)
    parts, found, at = [], {}, 0
    for begin, end, instead, kind, content in walk(data):
        parts += [data[at:begin], instead]
        at = end
        if kind:
            found.setdefault(kind, []).append(content)
    if not parts:
        return data, UPRIGHT
    return b"".join([*parts, data[at:]]), _orientation(found)


def _orientation(found):
    """Return the first orientation that can be read in the metadata."""
    for kind, read in [(EXIF, _exif), (RAW, _raw_profile), (XMP, _xmp)]:
        with contextlib.suppress(Exception):    # damaged in any way
            if kind in found:
                value = read(b"".join(found[kind]))
                if value is not None:
                    return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _exif(data):
    """Return the orientation in Exif, or None; other tags are not read."""
    while data.startswith(EXIF):    # some programs write it twice
        data = data[len(EXIF):]
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    first, = struct.unpack_from(order + "I", data, 4)
    entries, = struct.unpack_from(order + "H", data, first)
    for at in range(first + 2, first + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag == ORIENTATION:
            return struct.unpack_from(order + INTEGERS[kind], data, at + 8)[
                0] if count == 1 else UPRIGHT
    return None


def _raw_profile(text):
    """Return the orientation in Exif as ImageMagick writes it into PNG."""
    return _exif(bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode()))


def _xmp(text):
    """Return the orientation in XMP, or None."""
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', text)
    return found and int(found[1])


def _jpeg(data):
    """Yield what to cut: begin, end, bytes instead, kind and content."""
    at = 2
    while at + 4 <= len(data):
        marker, length = HEAD.unpack_from(data, at)
        if marker < 0xff00 or marker == 0xffff:    # no marker here
            at += 1
        elif marker < 0xff02 or 0xffd0 <= marker <= 0xffd9:    # no length
            at += 2
        elif marker == 0xffda or marker < 0xffc0:
            return    # the pixels begin, or nothing known
        else:
            end = at + 2 + max(length, 2)
            if 0xffe0 <= marker <= 0xffef or marker == 0xfffe:
                content = data[at + 4:end]
                start, shortest = JPEG_COLOURS.get(marker, (b"", 1 << 16))
                if not content.startswith(start) or len(content) < shortest:
                    kind = next((kind for kind in (EXIF, XMP)
                                 if content.startswith(kind)), None)
                    yield at, end, b"", kind, content[len(kind or b""):]
            at = end


def _png(data):
    """Yield as `_jpeg`: all chunks that a decoder does not need."""
    at, name = 8, b""
    while at + 8 <= len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha():
            return
        end = at + 12 + length
        if name[:1].islower() and name != b"tRNS":
            content = data[at + 8:end - 4]
            kind = EXIF if name == b"eXIf" else None
            with contextlib.suppress(ValueError, IndexError, zlib.error):
                if name in (b"tEXt", b"zTXt", b"iTXt"):
                    kind, content = _png_text(name, content)
            yield at, end, b"", kind, content
        at = end


def _png_text(name, content):
    """Return the kind of a text chunk, or None, and its text."""
    key, text = content.split(b"\0", 1)
    kind, packed = PNG_TEXTS.get(key), name == b"zTXt"
    if kind and packed:
        text = text[1:]
    elif kind and name == b"iTXt":
        packed = text[0]
        text = text[2:].split(b"\0", 2)[2]
    if kind and packed:
        text = zlib.decompressobj().decompress(text, LONGEST_TEXT)
    return kind, text


def _webp(data):
    """Yield as `_jpeg`: all chunks but pixels and frames."""
    at, cuts = 12, []
    while data[8:12] == b"WEBP" and at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = min(at + 8 + length + length % 2, len(data))
        if name not in WEBP_PICTURE:
            kind = {b"EXIF": EXIF, b"XMP ": XMP}.get(name)
            cuts.append((at, end, b"", kind, data[at + 8:end]))
        at = end
    if cuts:    # the size of the file is in its header
        size = len(data) - 8 - sum(end - at for at, end, *_ in cuts)
        yield 4, 8, struct.pack("<I", size), None, b""
        yield from cuts


def _gif(data):
    """Yield as `_jpeg`: extensions before the first frame, its disposal."""
    with contextlib.suppress(IndexError):    # truncated
        at = 13 + (data[10] >> 7) * (6 << (data[10] & 7))
        while data[at] not in b",;":
            if data[at] != ord("!"):
                at += 1
                continue
            begin, at = at, at + 2
            while data[at]:
                at += 1 + data[at]
            at += 1
            if data[begin + 1] != 0xf9:
                yield begin, at, b"", None, b""
            elif data[begin + 2]:    # what happens after this frame
                yield begin + 3, begin + 4, bytes(
                    [data[begin + 3] & 0b11100011]), None, b""


def _boxes(data):
    """Yield as `_jpeg`: Exif and XMP of HEIC and AVIF, renamed."""
    if data[4:8] == b"ftyp":
        for item in ITEM.finditer(data):
            yield item.start(1), item.end(1), b"free", None, b""


WALKS = {b"\xff\xd8\xff": _jpeg, b"\x89PNG\r\n\x1a\n": _png, b"RIFF": _webp,
         b"GIF8": _gif}
