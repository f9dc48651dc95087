#!/usr/bin/env python3
"""What the trained head predicts from the cached features."""
import os

import numpy as np

from stages.lib.common import files, manifest, progress


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
    # TensorFlow takes seconds to start; only what shows predictions needs it.
    from stages.lib.common import keras_runtime
    from stages.lib.training import head
    x = [manifest.features(split) for split in files.SPLITS]
    model = keras_runtime.load_model(files.HEAD)
    if model.input_shape[1:] != x[0].shape[1:]:    # not trained yet
        return None, None
    classes = np.empty(len(chosen), np.int64)
    shares = np.empty(len(chosen), np.float32)
    with progress.bar("predictions", len(chosen)) as bar:
        first = 0
        for split, of_split in enumerate(x):
            rows = cached.row[chosen[cached.split[chosen] == split]]
            for k in range(0, len(rows), head.BATCH):    # maps are large
                found = head.probabilities(
                    model, of_split[rows[k:k + head.BATCH]])
                part = slice(first, first + len(found))
                classes[part] = found.argmax(1)
                shares[part] = found.max(1)
                first += len(found)
                bar.update(len(found))
    return classes, shares
