#!/usr/bin/env python3
"""What the trained head predicts from the cached features."""
import os

import numpy as np

from stages.lib.common import errors, files, manifest, progress
from stages.lib.training import trained_head

ROWS = 256    # in memory at a time: maps are large


def predictions(cached, chosen):
    """Return the classes that the head predicts, and their probabilities.

    Args:
        cached: `cached_features.CachedFeatures`.
        chosen: row numbers, ascending.

    Returns:
        integer (points,), float32 (points,), 0..1; None and None if there is
        no head for these features yet.
    """
    if not os.path.exists(files.HEAD):
        return None, None
    x = [manifest.features(split) for split in files.SPLITS]
    try:
        predict = trained_head.predictor(x[0].shape[1:], len(cached.names))
    except errors.OtherFeaturesError:    # not trained yet
        return None, None
    classes = np.empty(len(chosen), np.int64)
    shares = np.empty(len(chosen), np.float32)
    with progress.bar("predictions", len(chosen)) as bar, \
            np.errstate(invalid="ignore"):    # of features that are not finite
        first = 0
        for split, of_split in enumerate(x):
            rows = cached.row[chosen[cached.split[chosen] == split]]
            for k in range(0, len(rows), ROWS):
                found = predict(of_split[rows[k:k + ROWS]])
                part = slice(first, first + len(found))
                classes[part] = found.argmax(1)
                shares[part] = found.max(1)
                first += len(found)
                bar.update(len(found))
    return classes, shares
