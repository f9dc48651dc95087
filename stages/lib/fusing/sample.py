#!/usr/bin/env python3
"""The rows on which a fused model is compared."""
import numpy as np

from stages.lib.common import files, manifest, text
from stages.lib.images import prepared

IMAGES = 512
MAX_MEGAPIXELS = 64    # of an image, padded: 12 bytes a pixel in the model


class Sample:
    """`IMAGES` rows, spread evenly over all splits.

    Images of more than `MAX_MEGAPIXELS` are left out, unless all are so large:
    then the smallest is compared.

    Item k is a pair: image, uint8 (h, w, 3), and its cached features.

    Attributes:
        names: of the rows, "split row i (image)".
    """

    def __init__(self, source, mode):
        """Open the arrays of all splits.

        Args:
            source: data.source.
            mode: resize.mode.

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
        self._leave_out_large(mode)

    def _leave_out_large(self, mode):
        """Leave out large images, and say so."""
        pixels = np.array([max(size)**2 if mode == "pad" else np.prod(size)
                           for size in (raw.size(row)
                                        for raw, _, row in self._rows)])
        kept = np.flatnonzero(pixels <= MAX_MEGAPIXELS * 1e6)
        if not len(kept):
            kept = [int(pixels.argmin())]
        if len(kept) < len(pixels):
            print(f"fuse: {len(pixels) - len(kept):,} of {len(pixels):,} "
                  f"images are not compared: larger than {MAX_MEGAPIXELS} "
                  "megapixels" + (", padded" if mode == "pad" else ""),
                  flush=True)
        self._rows = [self._rows[k] for k in kept]
        self.names = [self.names[k] for k in kept]

    def __len__(self):
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, k):
        """Return image and features of row `k`."""
        raw, x, row = self._rows[k]
        return raw[row], x[row]
