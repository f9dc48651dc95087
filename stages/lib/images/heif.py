#!/usr/bin/env python3
"""HEIC and AVIF: tell them by their bytes, say what to install."""
from PIL import Image, features

from stages.lib.common import errors

AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm",
               b"hevs", b"mif1", b"msf1"}
INSTALL = "install the extra heif: python -m pip install"


def kind(data):
    """Return "HEIC" or "AVIF" if these bytes of a file say so, or None."""
    if data[4:8] != b"ftyp":
        return None
    end = min(len(data), int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[k:k + 4] for k in range(16, end, 4))}
    if brands & AVIF_BRANDS and data[8:12] not in HEIC_BRANDS - {
            b"mif1", b"msf1"}:
        return "AVIF"
    return "HEIC" if brands & HEIC_BRANDS else None


def formats(found):
    """Return Pillow's names of a kind of file, ready to be opened.

    Args:
        found: what `kind` returned, not None.

    Raises:
        PictureError: it is not installed.
    """
    if found == "AVIF":
        if "avif" in features.modules and features.check("avif"):
            return ("AVIF",)
        raise errors.PictureError(f"AVIF: {INSTALL} 'Pillow>=11.3'")
    try:
        import pillow_heif    # an extra
    except ImportError as error:
        raise errors.PictureError(
            f"HEIC: {INSTALL} 'pillow-heif>=1.1'") from error
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False)
    return ("HEIF",)
