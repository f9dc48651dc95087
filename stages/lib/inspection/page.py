#!/usr/bin/env python3
"""The page to explore cached features: one file, no network needed."""
import base64
import json
import os

import numpy as np

from stages.lib.common import files, text
from stages.lib.inspection import neighbours, report, sprite

FOLDER = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = ("legend.js", "lists.js", "page.js")
SIDE = 32          # pixels of a picture
NEIGHBOURS = 8     # shown of each point
LISTED = 100       # groups of each list
GROUP = 8          # images shown of a group


def write(path, cached, examined, chosen, flat, predicted):
    """Write the page.

    Args:
        path: of the page.
        cached: `cached_features.CachedFeatures`.
        examined: `doctor.Examined`.
        chosen: row numbers of the points, ascending.
        flat: float32 (points, 2), where they are.
        predicted: integer (points,), classes, or None without a head.
    """
    from plotly.offline import get_plotlyjs    # an extra, 5 MB of script
    picture, columns = sprite.sprite(cached, chosen, SIDE)
    content = {**_points(cached, examined, chosen, flat, predicted),
               **_lists(cached, examined, chosen),
               "accepted": examined.findings["label_noise"]["accepted"],
               "key": report.described(cached.manifest["key"]),
               "images": len(cached.labels), "side": SIDE, "columns": columns}
    html, *scripts = map(_text, ("page.html", *SCRIPTS))
    image = base64.b64encode(
        sprite.encoded(picture, "WEBP", quality=80)).decode()
    for name, value in [
            ("PLOTLY", get_plotlyjs()), ("SCRIPT", "".join(scripts)),
            ("SPRITE", f"data:image/webp;base64,{image}"),
            ("CONTENT", json.dumps(content).replace("<", "\\u003c"))]:
        html = html.replace(f"@{name}@", value, 1)
    files.write_text(path, html)


def _text(name):
    """Return the text of a file beside this one."""
    with open(f"{FOLDER}/{name}", encoding="utf-8") as file:
        return file.read()


def _points(cached, examined, chosen, flat, predicted):
    """Return the data of the points, lists of equal length."""
    points = examined.space.points[chosen]
    every = np.arange(len(chosen))
    found = neighbours.nearest(points, every, every, NEIGHBOURS)
    voted = examined.shares[chosen].argmax(1)
    # Four digits place a point on any screen.
    return {"x": [float(f"{v:.4g}") for v in flat[:, 0]],
            "y": [float(f"{v:.4g}") for v in flat[:, 1]],
            "names": [text.escaped(name) for name in cached.names],
            "splits": list(files.SPLITS),
            "label": cached.labels[chosen].tolist(),
            "split": cached.split[chosen].tolist(),
            "voted": voted.tolist(),
            "predicted": None if predicted is None else predicted.tolist(),
            "where": [report.place(cached.where(k)) for k in chosen],
            "near": found.rows.tolist()}


def _lists(cached, examined, chosen):
    """Return lists of groups of points, and pairs of classes, by number."""
    number = {int(k): n for n, k in enumerate(chosen)}
    found = _groups(cached, examined)
    shown = {name: [{"points": [number[k] for k in rows], "more": more}
                    for rows, more in groups[:LISTED]
                    if all(k in number for k in rows)]
             for name, groups in found.items()}
    return {**shown, **{f"all_{name}": len(groups)
                        for name, groups in found.items()},
            "pairs": [[*map(cached.names.index, one["classes"]),
                       one["mistaken"]]
                      for one in examined.findings["pairs"]
                      if one["mistaken"]]}


def _groups(cached, examined):
    """Return the groups of each list, the most important list first.

    A group is a list of at most `GROUP` rows, and the number of the others.
    """
    found = {
        "conflicts": _located(cached, examined.findings, "conflicts"),
        "leaks": _leaks(cached, examined.exact_duplicates),
        "near_leaks": _leaks(cached, examined.near_duplicates),
        "label_errors": examined.label_errors[:, None].tolist(),
        "more_label_errors": examined.more_label_errors[:, None].tolist(),
        "copies": _located(cached, examined.findings, "copies")}
    return {name: [_first(cached, rows) for rows in groups]
            for name, groups in found.items()}


def _located(cached, findings, name):
    """Return row numbers for a list of groups of rows such as "train:17"."""
    start = {split: int(np.argmax(cached.in_split(split)))
             for split in files.SPLITS}
    places = [[one["row"].split(":") for one in group]
              for group in findings.get(name, [])]
    return [[start[split] + int(row) for split, row in group]
            for group in places]


def _first(cached, rows):
    """Return `GROUP` of `rows`, each split and class, and how many more."""
    kinds = [(cached.split[k], cached.labels[k]) for k in rows]
    order = sorted(range(len(rows)),
                   key=lambda n: (kinds.index(kinds[n]) != n, n))
    return [int(rows[n]) for n in order[:GROUP]], max(0, len(rows) - GROUP)


def _leaks(cached, groups):
    """Return those of `groups`, lists of rows, that are in two splits."""
    return [rows for rows in groups if len(set(cached.split[rows])) > 1]


def required_rows(cached, examined):
    """Return the rows that the page must show, most important first."""
    return [k for groups in _groups(cached, examined).values()
            for rows, _ in groups[:LISTED] for k in rows
            if examined.space.usable[k]]
