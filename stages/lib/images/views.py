#!/usr/bin/env python3
"""Views: deterministic augmentations of an image, each with a name.

A view consists of parts joined by +, applied from left to right, as in
`hflip+up`.  It changes the pixels that the backbone sees, so that it works
for every data source.  `names.VIEW_PARTS` lists the parts.
"""
import functools
import os

import numpy as np

from stages.lib.common import arrays
from stages.lib.images import rescaling
from stages.lib.params import names

SHIFT = 8    # a shift is 1/8 of the side: 4 pixels of CIFAR's 32


class Viewed:
    """The images of an array as a view shows them.

    It is pickled as its full path, so that another process, or a machine that
    sees the same file, reads the pixels itself.
    """

    def __init__(self, path, view):
        """Remember the path of uint8 (n, side, side, 3), and the view."""
        self.path, self.view = path, view

    def __reduce__(self):
        """Pickle what `__init__` needs, not the pixels."""
        return Viewed, (os.path.abspath(self.path), self.view)

    @functools.cached_property
    def pixels(self):
        """Return the array, memory-mapped.

        Raises:
            ArtefactError: missing or damaged.
        """
        return arrays.open_array(self.path, ndim=4)

    def __call__(self, rows):
        """Return the view of some rows, C-contiguous."""
        return apply(self.view, self.pixels[rows])


def apply(view, images):
    """Return `view` of `images`, both uint8 (n, side, side, 3).

    Shifts fill the uncovered border with its mirror image; `zoom` shows the
    central 7/8, scaled up as `resize` does.
    """
    for name in names.view_parts(view):
        images = PARTS[name](images)
    return np.ascontiguousarray(images)


def _shift(axis, forward):
    """Return the shift along an axis of (n, h, w, 3)."""
    def shift(images):
        """Return the shifted images."""
        step = images.shape[axis] // SHIFT
        rows = np.arange(images.shape[axis]) + (step if forward else -step)
        last = images.shape[axis] - 1
        rows = np.abs(rows)
        return images.take(np.where(rows > last, 2 * last - rows, rows), axis)
    return shift


def _zoom(images):
    """Return the central 7/8 of `images` at their own side."""
    side = images.shape[1]
    edge = side // (2 * SHIFT)
    inner = images[:, edge:side - edge, edge:side - edge]
    return rescaling.rescale(inner, side).numpy().astype("uint8")


PARTS = {"hflip": lambda images: images[:, :, ::-1], "zoom": _zoom,
         "up": _shift(1, True), "down": _shift(1, False),
         "left": _shift(2, True), "right": _shift(2, False)}
