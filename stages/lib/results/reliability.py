#!/usr/bin/env python3
"""The reliability diagram: accuracy against confidence, as PNG."""
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import (
    NullFormatter, PercentFormatter, StrMethodFormatter)

from stages.lib.results import calibration, charts


def draw(before, after, labels, temperature, path):
    """Draw the accuracy of each bin of confidence, and its images.

    Args:
        before, after: probabilities at temperature 1 and at `temperature`,
            float (n, classes).
        labels: integer (n,).

    A calibrated model is on the diagonal; below it, it is too sure.
    """
    figure = Figure((6, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":",
               label="as right as sure")
    for p, style, name in [
            (before, "C1s", "temperature 1"),
            (after, "C0o", f"temperature {temperature:g}, as used")]:
        x, y, low, high, images = np.transpose([
            list(row.values()) for row in calibration.reliability(p, labels)])
        error = calibration.error(p, p.argmax(axis=1) == labels)
        upper.errorbar(
            x, y, [y - low, high - y] if p is after else None, fmt=style,
            markersize=5, capsize=3, linewidth=1,
            label=f"{name}: calibration error {error:.3f}")
        lower.plot(x, images, f"{style}-", markersize=5, linewidth=1)
    chance = calibration.error_by_chance(after)
    upper.set(ylim=(0, 1.02), ylabel="accuracy, with 95 % Wilson intervals",
              title=f"Test: {len(labels):,} images; an error up to "
              f"{chance:.3f} is chance")
    figure.legend(loc="outside lower center")
    lower.set(xlim=(0, 1.02), xlabel="confidence, mean of a bin",
              ylabel="images of a bin", yscale="log", ylim=(0.8, None))
    lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    lower.yaxis.set_minor_formatter(NullFormatter())
    for axis in (upper.xaxis, upper.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    charts.save(figure, path)
