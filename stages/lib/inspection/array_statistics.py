#!/usr/bin/env python3
"""Statistics of a cached array: range, mean, dead and NaN dimensions."""
import os

import numpy as np

from stages.lib.common import arrays
from stages.lib.inspection import cached_features


def statistics(path, dead):
    """Return the statistics of the array at `path`, a dictionary.

    A dimension is one entry of a vector, one channel of a map.  Values that
    are not finite are counted, and excluded from the others.

    Args:
        path: of an array of features, float (n, …, d).
        dead: a dimension with at most this standard deviation is dead.
    """
    x = arrays.open_array(path)
    depth = x.shape[-1]
    count, total, squares = (np.zeros(depth) for _ in range(3))
    nan, infinite = (np.zeros(depth, np.int64) for _ in range(2))
    low, high = np.full(depth, np.inf), np.full(depth, -np.inf)
    shift, rows = None, 0
    for block in cached_features.blocks(x):
        part = x[block].astype(np.float64).reshape(-1, depth)
        bad = ~np.isfinite(part)
        nan += np.isnan(part).sum(0)
        infinite += np.isinf(part).sum(0)
        rows += int(bad.reshape(len(x[block]), -1).any(1).sum())
        if shift is None:    # near the mean, so that no digits cancel
            shift = np.ma.masked_array(part, bad).mean(0).filled(0)
        low = np.minimum(low, np.where(bad, np.inf, part).min(0))
        high = np.maximum(high, np.where(bad, -np.inf, part).max(0))
        part = np.where(bad, 0, part - shift)
        count += (~bad).sum(0)
        total += part.sum(0)
        squares += np.square(part).sum(0)
    some = np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / some - (total / some)**2, 0))
    return {"path": path, "rows": len(x), "shape": list(x.shape[1:]),
            "dtype": str(x.dtype), "bytes": os.path.getsize(path),
            **_whole(count, shift + total / some, deviation, low, high),
            "dead": np.flatnonzero((count > 0) & (deviation <= dead)).tolist(),
            "nan": np.flatnonzero(nan).tolist(),
            "infinite": np.flatnonzero(infinite).tolist(),
            "rows_not_finite": rows}


def _whole(count, mean, deviation, low, high):
    """Return range, mean and deviation of all values."""
    if not count.any():
        return {"min": None, "max": None, "mean": None, "std": None}
    whole = (count * mean).sum() / count.sum()
    variance = (count * (deviation**2 + (mean - whole)**2)).sum()
    return {"min": float(low.min()), "max": float(high.max()),
            "mean": float(whole),
            "std": float(np.sqrt(variance / count.sum()))}
