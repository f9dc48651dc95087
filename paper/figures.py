#!/usr/bin/env python3
"""The figures of the paper, in one style that reads in grey.

Colours are of Okabe and Ito, told apart by the colour-blind; marks, hatches
and labels say the same without colour.
"""
import matplotlib
import matplotlib.pyplot as plt

from paper import text

STYLE = {
    "figure.dpi": 150, "figure.facecolor": "white", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
    "axes.axisbelow": True, "axes.titlesize": 9, "legend.frameon": False,
    "lines.linewidth": 1.4, "lines.markersize": 5, "font.family":
    "DejaVu Sans"}
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
WIDTH = 6.6    # inches
BARS = {    # question -> point -> its label
    "heads": {"linear": "linear", "hidden_512": "one layer, 512",
              "hidden_1024": "one layer, 1,024",
              "three_layers": "three layers, 256-128-64"},
    "layers": {"top": "the last layer", "stages": "last of each resolution",
               "all": "ends of all blocks",
               "all_linear": "all blocks, linear head"},
    "labels": {"right": "right labels", "noisy": "a tenth wrong",
               "cleaned": "suspects removed"},
    "views": {"one": "one view", "one_longer": "one view, twice the epochs",
              "two": "two views", "seven": "seven views, twice the epochs"}}


def bounds(result):
    """Return how far the interval of a point reaches down and up, percent.

    Of several seeds, those of the mean; see `results.Result.error`.
    """
    if result.seeds > 1:
        return [196 * result.error] * 2
    return [100 * (result.test - result.test_low),
            100 * (result.test_high - result.test)]


def marks(axes, places, results, label=None, colour=BLUE, mark="o",
          line="-"):
    """Draw accuracies with intervals against `places`."""
    axes.errorbar(places, [100 * one.test for one in results],
                  yerr=list(zip(*map(bounds, results))), fmt=mark,
                  linestyle=line, color=colour, ecolor=colour, capsize=2,
                  label=label)


def bars(study, question, names, path, title):
    """Draw the points of a question as horizontal marks.

    Args:
        names: point -> its label.
        title: of the axis of accuracies.
    """
    found = [one for one in study.points(question) if one.name in names]
    figure, axes = plt.subplots(
        figsize=(WIDTH, 0.5 + 0.33 * len(found)), layout="constrained")
    for place, one in enumerate(found[::-1]):
        axes.errorbar([100 * one.test], [place],
                      xerr=[[side] for side in bounds(one)], fmt="o",
                      color=BLUE, capsize=2)
        axes.plot([100 * value for value in one.values("test")],
                  [place - 0.25] * one.seeds, "|", color=GREY)
    axes.set_yticks(range(len(found)), [names[one.name]
                                        for one in found[::-1]])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel(title)
    save(figure, path)


def depth(study, path):
    """Draw accuracy, and disk, against the cut."""
    found = study.by_depth()
    labels = [one.cut.replace("conv_", "").replace("_relu", "")
              for one in found]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 2.5), layout="constrained")
    places = range(len(found))
    marks(left, places, found)
    left.set_ylabel("test accuracy, %")
    rows = [one.train_images + one.validation_images + one.test_images
            for one in found]
    right.plot(places, [one.disk_bytes / count / 1e3
                        for one, count in zip(found, rows)], "s-",
               color=ORANGE, label="kB of disk an image")
    right.plot(places, [1e3 * one.train_seconds / one.train_images
                        for one in found], "^--", color=GREY,
               label="ms of training an image")
    right.set_yscale("log")
    right.set_ylim(top=500)    # room for the legend
    right.yaxis.set_major_formatter("{x:g}")
    right.legend()
    for axes in (left, right):
        axes.set_xticks(places, labels, rotation=35, ha="right")
        axes.set_xlabel("last frozen layer")
    save(figure, path)


def few_images(study, path):
    """Draw accuracy against train images, frozen and from scratch."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    for label, questions, style in [
            ("frozen MobileNet, head trained", ["few_images"],
             (BLUE, "o", "-")),
            ("small ConvNet from scratch", ["scratch", "scratch_more"],
             (ORANGE, "s", "--"))]:
        found = [one for question in questions
                 for one in study.points(question)]
        if found:
            marks(axes, [one.train_images + one.validation_images
                         for one in found], found, label, *style)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("labelled images, train and validation")
    axes.set_ylabel("test accuracy, %")
    axes.legend()
    save(figure, path)


def sides(study, path):
    """Draw accuracy and the seconds of extraction against the side."""
    found = study.points("sides")
    places = [one.side for one in found]
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4), layout="constrained")
    marks(axes, places, found)
    axes.set_xticks(places)
    axes.minorticks_off()
    axes.set_xlabel("side of the image in pixels")
    axes.set_ylabel("test accuracy, %")
    save(figure, path)


def caching(rows, path):
    """Draw the seconds of an epoch with and without cache, by cut.

    Args:
        rows: of study/caching.csv.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    places = range(len(rows))
    for shift, name, label, colour, hatch in [
            (-0.2, "loop_epoch_seconds", "frozen part in the loop", ORANGE,
             "//"),
            (0.2, "cached_epoch_seconds", "from the cache", BLUE, "")]:
        axes.bar([place + shift for place in places],
                 [row[name] for row in rows], 0.38, label=label,
                 color=colour, hatch=hatch, edgecolor="white")
    axes.set_yscale("log")
    axes.set_xticks(places, [row["cut"].replace("conv_", "").replace(
        "_relu", "").replace("top", "all frozen") for row in rows])
    axes.set_xlabel("last frozen layer")
    axes.set_ylabel("processor seconds an epoch")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    save(figure, path)


def overview(study, path):
    """Draw the picture at the top: what is computed once, what again."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.3), layout="constrained")
    axes.axis("off")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 40)
    best = study.point("heads.hidden_512")
    once = best.extraction
    boxes = [
        (1, "images", "resized,\nnumbered by\ntheir pixels", "white"),
        (27, "frozen backbone", f"{text.count(once['rows_computed'])} images"
         f"\nin {text.seconds(once['extract_seconds'])},\nonce", "#cfe3f1"),
        (53, "cache", f"{text.size(best.disk_bytes)}\nof .npy files,\n"
         "every row sealed", "white"),
        (79, "head", f"trained in\n{text.seconds(best.train_seconds)}:\n"
         f"{text.percent(best.test)} right", "#f7ddc9")]
    for x, name, about, colour in boxes:
        axes.add_patch(matplotlib.patches.FancyBboxPatch(
            (x, 10), 19, 26, boxstyle="round,pad=0.6", facecolor=colour,
            edgecolor="#333333"))
        axes.text(x + 9.5, 32, name, ha="center", va="center",
                  weight="bold")
        axes.text(x + 9.5, 20, about, ha="center", va="center", fontsize=8)
        if x > 1:
            axes.annotate("", (x - 0.8, 23), (x - 5.8, 23), arrowprops={
                "arrowstyle": "->", "color": "#333333"})
    axes.annotate("", (89, 8.5), (62, 8.5), arrowprops={
        "arrowstyle": "->", "color": GREY, "linestyle": "--",
        "connectionstyle": "arc3,rad=0.25"})
    axes.text(75.5, 1.5, "every experiment starts here", ha="center",
              color=GREY, fontsize=8)
    save(figure, path)


def save(figure, path):
    """Write a figure as PNG: the same bytes for the same numbers."""
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def draw(study, caching_rows, folder):
    """Write all figures to `folder`."""
    matplotlib.use("agg")
    with plt.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        overview(study, f"{folder}/overview.png")
        for question, names in BARS.items():
            if len(study.points(question)) == len(names):
                bars(study, question, names, f"{folder}/{question}.png",
                     "test accuracy, %")
        for draw_one in (depth, few_images, sides):
            if len(study.points(draw_one.__name__)) > 1:
                draw_one(study, f"{folder}/{draw_one.__name__}.png")
        caching(caching_rows, f"{folder}/caching.png")
