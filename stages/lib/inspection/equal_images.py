#!/usr/bin/env python3
"""Images with equal pixels: one for all, contradicting labels, copies.

Pixels are those that the backbone sees, after resizing.
"""
import numpy as np

from stages.lib.common import files


def first_of_equals(images, usable):
    """Return the first row of the same image for each row, integer (n,).

    A row that is not usable stands for itself only.

    Args:
        images: digests, void (n,).
        usable: bool (n,).
    """
    rows = np.flatnonzero(usable)
    _, first, image = np.unique(images[rows], return_index=True,
                                return_inverse=True)
    found = np.arange(len(images))
    found[rows] = rows[first[image]]
    return found


def conflicts(cached):
    """Return groups of equal images of several classes, see `_described`.

    Args:
        cached: `cached_features.CachedFeatures`.
    """
    return [_described(cached, rows) for rows in _groups(cached.images)
            if len(set(cached.labels[rows])) > 1]


def copies(cached):
    """Return groups of equal images of one split and class, as `conflicts`."""
    kinds = np.stack([cached.split, cached.labels], 1)
    _, kind = np.unique(kinds, axis=0, return_inverse=True)
    found = (rows[kind[rows] == one] for rows in _groups(cached.images)
             for one in dict.fromkeys(kind[rows]))
    return [_described(cached, rows) for rows in found if len(rows) > 1]


def _groups(images):
    """Return the rows of each image that occurs twice or more.

    Both rows and groups ascend, groups by their first row.
    """
    _, image, times = np.unique(images, return_inverse=True,
                                return_counts=True)
    rows = np.flatnonzero(times[image] > 1)
    rows = rows[np.argsort(image[rows], kind="stable")]
    ends = np.cumsum(times[times > 1])
    return sorted(np.split(rows, ends[:-1]), key=lambda one: one[0]) if (
        len(rows)) else []


def _described(cached, rows):
    """Return row (such as "train:17"), image and class of each of `rows`.

    The image is a path, or None for arrays.
    """
    found = []
    for k in rows:
        split, row = files.SPLITS[cached.split[k]], int(cached.row[k])
        found.append({
            "row": f"{split}:{row}", "image": cached.where(k).get("file"),
            "class": cached.names[cached.labels[k]]})
    return found
