#!/usr/bin/env python3
"""What earlier runs learned of picture files: each is decoded once.

A file is known by its SHA-256, so it may be renamed, moved or copied.  All
that decoding depends on is part of the key.
"""
import numpy as np

from stages.lib.common import digests, kept_table
from stages.lib.images import decoders

PATH = "data/prepared/scratch/pictures"
ROW = np.dtype([("sha256", np.uint8, 32), ("size", np.int32, 2),
                ("jpeg", np.bool_), ("digest", np.uint8, digests.DIGEST)])


class KnownPictures:
    """Pictures that could be decoded, by the SHA-256 of their files."""

    def __init__(self, max_megapixels):
        """Read what earlier runs learned.

        Args:
            max_megapixels: larger ones are not known, so that they are
                refused.
        """
        self._limit, self._now = max_megapixels * 1e6, {}
        found = kept_table.read(PATH, decoders.key())
        self._before = {} if found is None else {
            row["sha256"].tobytes(): row for row in found}

    def get(self, sha256):
        """Return what is known of a file, a dictionary, or None.

        Args:
            sha256: of the file, 32 bytes.

        Returns:
            "size": (h, w); "jpeg": whether TensorFlow decodes it; "digest":
            of its pixels, uint8 (16,).
        """
        row = self._before.get(sha256)
        if row is None or row["size"].prod(dtype=np.int64) > self._limit:
            return None
        return self.add(sha256, tuple(row["size"].tolist()),
                        bool(row["jpeg"]), row["digest"])

    def add(self, sha256, size, jpeg, digest):
        """Keep what was learned of a file; return it as `get` does."""
        self._now[sha256] = (np.frombuffer(sha256, np.uint8), size, jpeg,
                             digest)
        return {"size": size, "jpeg": jpeg, "digest": digest}

    def write(self):
        """Write what is known of the files of this run."""
        kept_table.write(PATH, decoders.key(), np.array(
            [self._now[sha256] for sha256 in sorted(self._now)], ROW))
