#!/usr/bin/env python3
"""What the previous run learned of picture files: each is decoded once.

A file is known by its SHA-256, so it may be renamed, moved or copied.  All
that decoding depends on is part of the key.
"""
import numpy as np

from stages.lib.common import digests, image_table, kept_table
from stages.lib.images import decoders

PATH = "data/prepared/scratch/pictures"
ROW = np.dtype([*image_table.OF_FILES, ("digest", np.uint8, digests.DIGEST)])


class KnownPictures:
    """Pictures that could be decoded, by the SHA-256 of their files."""

    def __init__(self, max_megapixels):
        """Read what the previous run learned.

        Args:
            max_megapixels: larger ones are not known, so that they are
                refused.
        """
        self._limit, self._key = max_megapixels * 1e6, decoders.key()
        self._rows = kept_table.Index(kept_table.read(PATH, self._key))

    def get(self, sha256):
        """Return what is known of a file, a `ROW`, or None.

        Args:
            sha256: of the file, 32 bytes.
        """
        row = self._rows.get(sha256)
        if row is None or row["size"].prod(dtype=np.int64) > self._limit:
            return None
        return row

    def write(self, rows):
        """Keep what is known of the files of this run, `ROW` (n,)."""
        kept_table.write(PATH, self._key, rows)
