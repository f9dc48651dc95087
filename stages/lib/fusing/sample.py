#!/usr/bin/env python3
"""The rows on which a fused model is compared."""
import numpy as np

from stages.lib.common import files, manifest, text
from stages.lib.images import prepared

IMAGES = 512


class Sample:
    """`IMAGES` rows, spread evenly over all splits.

    Item k is a pair: image, uint8 (h, w, 3), and its cached features.

    Attributes:
        names: of the rows, "split row i (image)".
    """

    def __init__(self, source):
        """Open the arrays of all splits.

        Args:
            source: data.source.

        Raises:
            ArtefactError: as `manifest.features` and `prepared.Images`.
        """
        self.names, self._rows, offset = [], [], 0
        cached = {split: manifest.features(split) for split in files.SPLITS}
        total = sum(map(len, cached.values()))
        chosen = np.unique(np.linspace(0, total - 1, IMAGES).astype(int))
        for split, x in cached.items():
            rows = chosen[(chosen >= offset)
                          & (chosen < offset + len(x))] - offset
            raw = prepared.Images(split, source)
            self._rows += [(raw, x, row) for row in rows]
            listed = prepared.rows(split)
            self.names += [
                f"{split} row {row} ({text.escaped(listed[row]['image'])})"
                for row in rows]
            offset += len(x)

    def __len__(self):
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, k):
        """Return image and features of row `k`."""
        raw, x, row = self._rows[k]
        return raw[row], x[row]
