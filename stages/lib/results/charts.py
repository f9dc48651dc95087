#!/usr/bin/env python3
"""Pictures of the results as PNG; the same values give the same bytes."""
import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import confusion_matrix

from stages.lib.common import files
from stages.lib.results import lettering, scores

CLASSES = 30    # of the confusion matrix, at most
ROWS, COLUMNS = 4, 6    # of the sheet of mistakes, at most


def history(epochs, path):
    """Draw accuracy and loss by epoch, train against validation.

    Args:
        epochs: accuracy, val_accuracy, loss, val_loss, each a sequence; with a
            tail, also part ("head" or "tail").

    Where train improves and validation does not, the model over-fits.  The
    epoch that was kept, the first of the best on validation, and the start of
    the tail's training are marked.
    """
    parts = list(epochs.get("part", ()))
    number = np.arange(1, len(epochs["loss"]) + 1)
    best = int(np.argmax(epochs["val_accuracy"]))
    figure = Figure((10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        axes.plot(number, epochs[name], label="train")
        axes.plot(number, epochs[f"val_{name}"], label="validation")
        axes.axvline(best + 1, color="grey", linestyle=":",
                     label=f"kept: epoch {best + 1}")
        axes.plot(best + 1, epochs[f"val_{name}"][best], "o", color="C1")
        if "tail" in parts:
            axes.axvline(parts.index("tail") + 0.5, color="black",
                         linewidth=1, label="from here on with the tail")
        axes.set(title=f"{name.title()}: validation "
                 f"{epochs[f'val_{name}'][best]:.3f} at the epoch kept",
                 xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    _save(figure, path)


def confusion(labels, predicted, names, path):
    """Draw the confusion matrix, one row for each actual class.

    Args:
        labels, predicted: integer (n,).
        names: of the classes.

    Colours show the share of the actual class, numbers count images.  Of many
    classes, the most confused are shown.
    """
    shown = most_confused(labels, predicted, len(names))
    counts = confusion_matrix(labels, predicted, labels=shown)
    images = np.bincount(labels, minlength=len(names))[shown, None]
    share = counts / images.clip(min=1)
    title = f"Test: {(labels == predicted).sum():,} of {len(labels):,} right"
    if len(shown) < len(names):
        title += (f"\nThe {len(shown)} most confused of {len(names):,} "
                  "classes")
    side = max(3, 0.55 * len(shown))
    figure = Figure((side + 3, side + 2), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the actual class", shrink=0.8)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    ticks, families = lettering.fit([names[k] for k in shown])
    axes.set_xticks(range(len(shown)), ticks, rotation=45, ha="right",
                    rotation_mode="anchor", parse_math=False,
                    fontfamily=families)
    axes.set_yticks(range(len(shown)), ticks, parse_math=False,
                    fontfamily=families)
    for row, column in np.argwhere(counts):
        axes.text(column, row, counts[row, column], ha="center", va="center",
                  fontsize=8,
                  color="white" if share[row, column] > 0.5 else "black")
    _save(figure, path)


def most_confused(labels, predicted, classes):
    """Return the classes to show, ascending, integer (`CLASSES`,) at most.

    Those of the pairs that are mistaken most often, in either direction; if
    they are few, others that have images, too.

    Args:
        labels, predicted: integer (n,).
        classes: their number.
    """
    pairs, _ = scores.confused_pairs(labels, predicted)
    ranked = [*pairs.ravel(), *np.unique(labels), *range(classes)]
    return np.sort([*dict.fromkeys(map(int, ranked))][:CLASSES])


def mistakes(images, probabilities, labels, names, path):
    """Draw the wrong test images, most confident first.

    Args:
        images: uint8 (n, h, w, 3).
        probabilities: float (n, classes).
        labels: integer (n,).
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    worst = wrong[order][:ROWS * COLUMNS]
    rows = max(1, -(-len(worst) // COLUMNS))
    figure = Figure((2 * COLUMNS, 2.5 * rows), layout="constrained")
    figure.suptitle(f"Test: {len(wrong):,} of {len(labels):,} wrong" + (
        "; those of greatest confidence" if len(worst) else ""))
    shown, families = lettering.fit(
        [names[k] for k in np.concatenate([predicted[worst], labels[worst]])])
    for axes, row, guess, name in zip(
            figure.subplots(rows, COLUMNS).flat, worst, shown,
            shown[len(worst):]):
        axes.imshow(images[row])
        axes.set_xlabel(f"{guess} {probabilities[row].max():.2f}\n"
                        f"is {name}, row {row}", fontsize=9,
                        parse_math=False, fontfamily=families)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
    for axes in figure.axes[len(worst):]:
        axes.set_visible(False)
    _save(figure, path)


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
    _save(figure, path)


def _caption(row):
    """Return the caption of the bars of a model."""
    minutes = ("time not noted" if row["minutes"] is None
               else f"{row['minutes']:.1f} minutes")
    return (f"{row['model']}\n{minutes}, {row['trained']:,} of\n"
            f"{row['parameters']:,} parameters trained")


def _save(figure, path):
    """Write `figure` without the version of Matplotlib."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    with files.replacing(path) as file:
        file.write(buffer.getvalue())
