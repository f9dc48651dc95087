#!/usr/bin/env python3
"""What the pixels of a picture file depend on, besides its bytes."""
import os
from importlib.metadata import PackageNotFoundError, version

from PIL import features

from stages.lib.common import files, kept_table
from stages.lib.images import decoding, heif, metadata

LIBRARIES = ("Pillow", "pillow-heif", "tensorflow")
CODECS = ("jpg", "libjpeg_turbo", "webp", "avif", "zlib")    # in Pillow


def key():
    """Return it as a dictionary, for JSON."""
    # jpeg.py starts TensorFlow
    jpeg = os.path.join(os.path.dirname(__file__), "jpeg.py")
    return {"code": {**kept_table.code(decoding, heif, metadata),
                     "jpeg": files.digest(jpeg, "sha256")},
            "codecs": {name: features.version(name) for name in CODECS},
            **{name: _version(name) for name in LIBRARIES}}


def _version(name):
    """Return the version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
