#!/usr/bin/env python3
"""The picture of the confusion matrix: all classes, and the most confused."""
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from stages.lib.results import charts, confusion, lettering

CELLS = 120    # rows of the whole matrix, at most
SIDE = 13      # inches of the whole matrix
COLOURS = {"cmap": "Blues", "norm": PowerNorm(0.5, 0, 1)}


def draw(labels, predicted, every, names, path):
    """Draw the confusion matrix, one row for each actual class.

    Args:
        labels, predicted: integer (n,).
        every: classes in the order to draw, see `confusion.ordered`.
        names: of the classes.

    Colours show the share of the actual class, numbers count images.  Of many
    classes, the most confused are shown, and below them the whole matrix.
    """
    title = f"Test: {(labels == predicted).sum():,} of {len(labels):,} right"
    shown = every[np.isin(every, confusion.most_confused(
        labels, predicted, len(names)))]
    side = max(3, 0.55 * len(shown))
    if len(every) == len(shown):
        figure = Figure((side + 3, side + 2), layout="constrained")
        panels = [figure.subplots()]
    else:
        title += (f"\nThe {len(shown)} most confused of {len(names):,} "
                  "classes")
        figure = Figure((side + 3, side + SIDE + 4), layout="constrained")
        panels = figure.subplots(2, 1, height_ratios=[side + 2, SIDE + 2])
        _whole(panels[1], labels, predicted, every, shown, names)
    _zoom(figure, panels[0], *_counts(labels, predicted, shown), shown, names)
    panels[0].set_title(title)
    charts.save(figure, path)


def _counts(labels, predicted, shown):
    """Return counts of images, integer (k, k), and their shares, 0..1."""
    counts = confusion_matrix(labels, predicted, labels=shown)
    images = np.bincount(labels, minlength=shown.max() + 1)[shown, None]
    return counts, counts / images.clip(min=1)


def _zoom(figure, axes, counts, share, shown, names):
    """Draw the matrix of the classes `shown` with names and numbers."""
    image = axes.imshow(share, **COLOURS)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the actual "
                    "class, coloured by its square root")
    axes.set(xlabel="predicted", ylabel="actual")
    _name(axes, shown, names, rotation=45)
    for row, column in np.argwhere(counts):
        axes.text(column, row, counts[row, column], ha="center", va="center",
                  fontsize=8,
                  color="white" if share[row, column] > 0.35 else "black")


def _whole(axes, labels, predicted, every, shown, names):
    """Draw the matrix of the classes `every`; mark those of the zoom.

    Of many classes, a cell is the mean of neighbours in this order: a single
    class would be too small to see.
    """
    step = -(-len(every) // CELLS)
    group = np.full(len(names), -1)
    group[every] = np.arange(len(every)) // step
    kept = (group[labels] >= 0) & (group[predicted] >= 0)
    _, share = _counts(group[labels[kept]], group[predicted[kept]],
                       np.arange(-(-len(every) // step)))
    end = len(share) * step - 0.5
    axes.imshow(share, **COLOURS, extent=(-0.5, end, end, -0.5))
    axes.set(xlabel="predicted", ylabel="actual", title=(
        f"All {len(every):,} classes" if len(every) == len(names) else
        f"The {len(every):,} most confused classes")
        + (f", {step} neighbouring ones a cell" if step > 1 else "")
        + "; those above are marked at the right")
    if step > 1:
        axes.set(xlabel="predicted, by place in classes.csv",
                 ylabel="actual, by place in classes.csv")
    places = np.flatnonzero(np.isin(every, shown))
    axes.plot(np.full(len(places), 1.01), places, "<", color="C3",
              markersize=4, clip_on=False,
              transform=axes.get_yaxis_transform())
    if step == 1:
        _name(axes, every, names, rotation=90, fontsize=7)


def _name(axes, shown, names, rotation, fontsize=None):
    """Write the names of the classes `shown` beside both axes."""
    ticks, families = lettering.fit([names[k] for k in shown])
    axes.set_xticks(range(len(shown)), ticks, rotation=rotation, ha="right",
                    va="center" if rotation == 90 else "top",
                    rotation_mode="anchor", parse_math=False,
                    fontfamily=families, fontsize=fontsize)
    axes.set_yticks(range(len(shown)), ticks, parse_math=False,
                    fontfamily=families, fontsize=fontsize)
