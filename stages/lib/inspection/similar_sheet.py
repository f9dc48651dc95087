#!/usr/bin/env python3
"""A sheet of pictures: examples, each with the cached images nearest to it."""
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from stages.lib.common import files
from stages.lib.inspection import sprite
from stages.lib.results import charts, lettering

COLUMNS = 8    # of similar images; more of them go to further lines
LINES = 24     # of the sheet, at most
SIDE = 160     # pixels; larger pictures are made smaller


def draw(path, examples, found, cached):
    """Draw the first `LINES` lines.

    Args:
        path: of the PNG.
        examples: list of (title, pixels), pixels uint8 (h, w, 3).
        found: list of `search.Found`, one for each example.
        cached: `search.CachedImages`.

    Raises:
        ArtefactError: the images do not belong to the features.
    """
    cells = _cells(examples, found, cached)[:LINES]
    columns = max(map(len, cells))
    figure = Figure((1.15 * columns, 1.55 * len(cells)), layout="constrained")
    every = figure.subplots(len(cells), columns, squeeze=False)
    shown, families = lettering.fit([name for line in cells
                                     for _, name, _ in line])
    shown = iter(shown)
    for axes, line in zip(every, cells):
        for one, (picture, _, number) in zip(axes, line):
            one.imshow(picture)
            one.set_xlabel(f"{next(shown)}\n{number}", fontsize=8,
                           parse_math=False, fontfamily=families)
        for one in axes:
            one.set(xticks=[], yticks=[])
        for one in axes[len(line):]:
            one.set_visible(False)
    charts.save(figure, path)


def _cells(examples, found, cached):
    """Return lines of (picture, name, number below it)."""
    pictures = [sprite.pictures(split, len(labels)) for split, labels
                in zip(files.SPLITS, cached.labels)]
    lines = []
    for (title, pixels), near in zip(examples, found):
        similar = [(_small(pictures[split][row]),
                    cached.names[cached.labels[split][row]],
                    f"{distance:.3f}") for split, row, distance in zip(*near)]
        for k in range(0, len(similar), COLUMNS):    # further lines: no title
            first = (np.full((1, 1, 3), 255, np.uint8), "", "") if k else (
                _small(pixels), title, "example")
            lines.append([first, *similar[k:k + COLUMNS]])
    return lines


def _small(pixels):
    """Return `pixels` at no more than `SIDE` pixels."""
    image = Image.fromarray(np.asarray(pixels))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image)
