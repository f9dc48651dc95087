#!/usr/bin/env python3
"""Views: other looks at the same image, each with a name, none by chance.

A view is made of parts joined by +, applied from left to right, as in
`hflip+up`.  It works on the pixels that the backbone sees, so that it serves
every data source.
"""
import numpy as np

from stages.lib.pixels import rescale

IDENTITY = "identity"
SHIFT = 8    # a shift is 1/8 of the side: 4 pixels of CIFAR's 32
PARTS = ("hflip", "up", "down", "left", "right", "zoom")


def parts(view):
    """Return the parts of `view`; none for `identity`.

    Raises:
        ValueError: a part is unknown.
    """
    names = [] if view == IDENTITY else view.split("+")
    for name in names:
        if name not in PARTS:
            raise ValueError(f"unknown view {view!r}; known: {IDENTITY}, or "
                             f"joined by +: {', '.join(PARTS)}")
    return names


def apply(view, images):
    """Return `view` of `images`, both uint8 (n, side, side, 3).

    Shifts fill what they uncover with its mirror image; `zoom` shows the
    central 7/8, scaled up as `resize` does.
    """
    for name in parts(view):
        images = _PART[name](images)
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
    return rescale(inner, side).numpy().astype("uint8")


_PART = {"hflip": lambda images: images[:, :, ::-1], "zoom": _zoom,
         "up": _shift(1, True), "down": _shift(1, False),
         "left": _shift(2, True), "right": _shift(2, False)}
