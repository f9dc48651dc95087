#!/usr/bin/env python3
"""What the pixels of a picture file depend on, besides its bytes."""
from importlib.metadata import PackageNotFoundError, version

from PIL import features

from stages.lib.common import kept_table

MODULES = [f"stages.lib.images.{name}" for name in (
    "decoding", "heif", "metadata", "jpeg")]
LIBRARIES = ("Pillow", "pillow-heif", "tensorflow")
CODECS = ("jpg", "libjpeg_turbo", "webp", "avif", "zlib")    # in Pillow


def key():
    """Return it as a dictionary, for JSON."""
    return {"code": kept_table.code(*MODULES),
            "codecs": {name: features.version(name) for name in CODECS},
            **{name: _version(name) for name in LIBRARIES}}


def _version(name):
    """Return the version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
