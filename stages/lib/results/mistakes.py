#!/usr/bin/env python3
"""The picture of the wrong test images."""
import numpy as np
from matplotlib.figure import Figure

from stages.lib.results import charts, lettering, scores

ROWS, COLUMNS = 4, 6    # of the sheet, at most
DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(images, probabilities, labels, names, path):
    """Draw the wrong test images, those of greatest margin first.

    Args:
        images: uint8 (n, h, w, 3).
        probabilities: float (n, classes).
        labels: integer (n,).
        names: of the classes.

    The margin (`scores.margins`) is written as odds, which still differ where
    every confidence rounds to 1.00.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    margins = scores.margins(probabilities[wrong], labels[wrong])
    order = np.argsort(-margins, kind="stable")[:ROWS * COLUMNS]
    worst, margins = wrong[order], margins[order]
    rows = max(1, -(-len(worst) // COLUMNS))
    figure = Figure((2 * COLUMNS, 2.6 * rows), layout="constrained")
    figure.suptitle(f"Test: {len(wrong):,} of {len(labels):,} wrong" + (
        "; those of greatest odds, predicted : actual class"
        if len(worst) else ""))
    shown, families = lettering.fit(
        [names[k] for k in np.concatenate([predicted[worst], labels[worst]])])
    for axes, row, margin, guess, name in zip(
            figure.subplots(rows, COLUMNS).flat, worst, margins, shown,
            shown[len(worst):]):
        axes.imshow(images[row])
        axes.set_xlabel(f"{guess}\nis {name}\n{odds(margin)}, row {row}",
                        fontsize=9, parse_math=False, fontfamily=families)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
    for axes in figure.axes[len(worst):]:
        axes.set_visible(False)
    charts.save(figure, path)


def odds(margin):
    """Return a margin, the logarithm of a ratio, as "150 : 1"."""
    ratio = float(f"{np.exp(margin):.2g}")
    if ratio < 1e6:
        return f"{ratio:,g} : 1"
    digit, power = f"{ratio:.0e}".split("e+")
    return f"{digit}×10{str(int(power)).translate(DIGITS)} : 1"
