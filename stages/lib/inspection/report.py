#!/usr/bin/env python3
"""The findings of the doctor as text."""
from stages.lib.common import files, text

KEY = ("{application}({options}), {side} px, pooling {pooling}, cut {cut}, "
       "weights {weights:.12}, {dtype} by {engine}")
TITLES = {
    "conflicts": "Contradicting labels: equal images, several classes",
    "leaks": "Leaks: the same image in more than one split",
    "duplicates": "Duplicates: the same image twice in one split",
    "near_leaks": "Near leaks: nearly the same image in two splits",
    "near_duplicates": "Near duplicates: nearly the same image in one split",
    "label_errors": "Suspected label errors, by neighbours and classifier",
    "outliers": "Outliers: rows that resemble no train image",
}


def lines(findings, top):
    """Yield the findings of `doctor.examine`, line by line.

    Args:
        top: greatest number of lines per list.
    """
    yield described(findings["key"])
    for one in findings["arrays"]:
        yield from _array(one, findings["key"].get("columns", []))
    yield ""
    if findings["approximate"]:
        yield (f"There are many images: {findings['voters']:,} of train, "
               "drawn at random, vote, and near duplicates are looked for "
               "among similar images only; some are missed.")
    yield "Accuracy of the vote of neighbours in train: " + ", ".join(
        f"{split} {value:.4f}" for split, value
        in findings["accuracy"].items())
    yield "Most confused pairs of classes (separability: 1 is best):"
    for pair in findings["pairs"]:
        if pair["mistaken"]:
            separable = "-" if pair["separability"] is None else (
                f"{pair['separability']:.4f}")
            classes = " / ".join(map(text.escaped, pair["classes"]))
            yield (f"  {classes:30} "
                   f"{pair['mistaken']:6,} rows, separability {separable}")
    for kind, title in TITLES.items():
        yield ""
        yield f"{title}: {len(findings[kind]):,}" if (
            kind != "outliers") else title
        if kind == "label_errors":
            yield from _noise(findings["label_noise"])
        for one in findings[kind][:top]:
            yield f"  {_entry(kind, one)}"
        if len(findings[kind]) > top:
            yield f"  … and {len(findings[kind]) - top:,} more (--top)"
        elif kind == "label_errors" and findings["more_label_errors"]:
            yield (f"  Less suspect; with them, more than "
                   f"{findings['label_noise']['accepted']:.0%} false are "
                   "expected:")
            for one in findings["more_label_errors"]:
                yield f"  ? {_entry(kind, one)}"


def _noise(found):
    """Yield the line about the expected share of false suspects."""
    false = found["false_suspects"]
    yield ("  expected share of false suspects: "
           + ("-" if false is None else f"{false:.0%}")
           + f" (--false-suspects {found['accepted']:g}); labels wrong at "
           f"random: about {found['random_labels']:.2%}")


def described(key):
    """Return the cache key as text."""
    options = ", ".join(f"{name}={value}"
                        for name, value in key["options"].items())
    shown = KEY.format(**{**key, "options": options})
    return (f"{shown}, {layers(key['columns'])}" if "columns" in key
            else shown)


def layers(columns):
    """Return the layers of the features as text.

    Args:
        columns: of the cache key, see `layers.columns`; None: of the last
            layer alone.
    """
    names = [layer for layer, _, _ in columns or [["top", 0, 0]]]
    return (f"layer {names[0]}" if len(names) == 1 else
            f"{len(names)} layers from {names[0]} to {names[-1]}")


def place(where):
    """Return where an image is, as "train 17" or "train 17 (cat/3.jpg)".

    It is one line, see `text.escaped`.
    """
    name = f"{where['split']} {where['row']}"
    return (f"{name} ({text.escaped(where['file'])})" if "file" in where
            else name)


def _array(one, columns):
    """Yield the statistics of one array.

    Args:
        one: of `array_statistics.statistics`.
        columns: of the cache key, see `layers.columns`; empty: one layer.
    """
    shape = " x ".join(f"{n:,}" for n in [one["rows"], *one["shape"]])
    yield (f"{one['path']}: {shape} {one['dtype']}, "
           f"{files.readable(one['bytes'])}")
    if one["mean"] is not None:
        yield (f"  {one['min']:.4g} to {one['max']:.4g}, mean "
               f"{one['mean']:.4g}, standard deviation {one['std']:.4g}")
    for name, what in [("dead", "dead dimensions"), ("nan", "NaN dimensions"),
                       ("infinite", "infinite dimensions")]:
        if one[name]:
            shown = ", ".join(f"{k}{_layer(k, columns)}"
                              for k in one[name][:10])
            yield (f"  {len(one[name]):,} {what}: {shown}"
                   f"{', …' if len(one[name]) > 10 else ''}")
    if one["rows_not_finite"]:
        yield f"  {one['rows_not_finite']:,} rows are not finite"


def _layer(k, columns):
    """Return " (layer)" of the dimension `k`, or "" if there is one layer."""
    return next((f" ({layer})" for layer, _, end in columns if k < end), "")


def _entry(kind, one):
    """Return one finding of a list."""
    if kind == "conflicts":
        return " = ".join(map(_labelled, one))
    if kind in ("leaks", "duplicates"):
        return " = ".join(map(place, one))
    if kind.startswith("near"):
        return (" ~ ".join(map(place, one["rows"]))
                + f", distance {one['distance']:.4f}")
    if kind == "label_errors":
        name, other = map(text.escaped, (one["class"],
                                         one["neighbours_predict"]))
        return (f"{place(one)}{_copies(one)}: {name}, neighbours predict "
                f"{other} (label score {one['label_score']:.4f}, false with "
                f"probability {one['false']:.2f})")
    return (f"{place(one)}{_copies(one)}: mean similarity "
            f"{one['similarity']:.4f}")


def _labelled(one):
    """Return an image of `equal_images.conflicts` and its class."""
    split, row = one["row"].split(":")
    where = {"split": split, "row": row, **(
        {"file": one["image"]} if one["image"] else {})}
    return f"{place(where)}: {text.escaped(one['class'])}"


def _copies(one):
    """Return how many copies an image has besides itself."""
    return {0: "", 1: " and a copy"}.get(
        one["copies"], f" and {one['copies']:,} copies")
