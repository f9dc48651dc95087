#!/usr/bin/env python3
"""Charts of the results as PNG; the same values give the same bytes."""
import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from stages.lib.common import files


def save(figure, path):
    """Write `figure` without the version of Matplotlib."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    with files.replacing(path) as file:
        file.write(buffer.getvalue())


def history(epochs, path):
    """Draw accuracy and loss by epoch, train against validation.

    Args:
        epochs: accuracy, val_accuracy, loss, val_loss, each a sequence; also
            part, with a tail ("head" or "tail") or instead of epochs
            ("penalty" and its value).

    Where train improves and validation does not, the model over-fits.  The
    epoch that was kept, the first of the best on validation, and the start of
    the tail's training are marked.
    """
    parts = list(epochs.get("part", ()))
    number = np.arange(1, len(epochs["loss"]) + 1)
    best = int(np.argmax(epochs["val_accuracy"]))
    solved = [part.split()[1] for part in parts if part.startswith("penalty")]
    kept = parts[best] if solved else f"epoch {best + 1}"
    figure = Figure((10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        axes.plot(number, epochs[name], label="train")
        axes.plot(number, epochs[f"val_{name}"], label="validation")
        axes.axvline(best + 1, color="grey", linestyle=":",
                     label=f"kept: {kept}")
        axes.plot(best + 1, epochs[f"val_{name}"][best], "o", color="C1")
        if "tail" in parts:
            axes.axvline(parts.index("tail") + 0.5, color="black",
                         linewidth=1, label="from here on with the tail")
        axes.set(title=f"{name.title()}: validation "
                 f"{epochs[f'val_{name}'][best]:.3f} at the "
                 f"{'penalty' if solved else 'epoch'} kept",
                 xlabel="penalty" if solved else "epoch")
        if solved:
            axes.set_xticks(number, solved)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    save(figure, path)


def comparison(rows, path):
    """Draw the accuracies of models side by side, with their intervals.

    Args:
        rows: dictionaries, see `compare/compare.py`.
    """
    splits = list(dict.fromkeys(row["split"] for row in rows))
    width = 0.8 / len(splits)
    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, split in enumerate(splits):
        models = [row for row in rows if row["split"] == split]
        height = np.array([row["accuracy"] for row in models])
        bars = axes.bar(
            np.arange(len(models)) + (k - (len(splits) - 1) / 2) * width,
            height, width, label=split, capsize=4, yerr=np.abs([
                height - [row["accuracy_low"] for row in models],
                [row["accuracy_high"] for row in models] - height]))
        axes.bar_label(bars, [f"{value:.3f}" for value in height],
                       label_type="center", color="white")
    axes.set_xticks(range(len(models)), [_caption(row) for row in models])
    axes.set(ylim=(0, 1), title="Accuracy, with 95 % Wilson intervals")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def _caption(row):
    """Return the caption of the bars of a model."""
    minutes = ("time not noted" if row["minutes"] is None
               else f"{row['minutes']:.1f} minutes")
    return (f"{row['model']}\n{minutes}, {row['trained']:,} of\n"
            f"{row['parameters']:,} parameters trained")
