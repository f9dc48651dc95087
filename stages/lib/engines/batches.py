#!/usr/bin/env python3
"""Call a function of batches of one size with any number of images."""
import numpy as np


def padded(step, batch):
    """Return a function of any number of images; `step` takes `batch`.

    The last batch is filled up with copies of its first image.

    Args:
        step: function, uint8 (batch, side, side, 3) -> float32 (batch, …).
    """
    def compute(images):
        """Return the features of `images`."""
        rows = []
        for k in range(0, len(images), batch):
            part = images[k:k + batch]
            missing = batch - len(part)
            if missing:
                part = np.concatenate([part, np.repeat(part[:1], missing, 0)])
            rows.append(step(part)[:batch - missing])
        return np.concatenate(rows)
    return compute
