#!/usr/bin/env python3
"""The page to explore cached features: one file, no network needed."""
import base64
import json
import os

import numpy as np

from stages.lib.common import files, text
from stages.lib.inspection import neighbours, report, sprite

FOLDER = os.path.dirname(os.path.abspath(__file__))
SIDE = 32          # pixels of a picture
NEIGHBOURS = 8     # shown of each point
LISTED = 100       # label errors, leaks and near leaks, each


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
               "key": report.described(cached.manifest["key"]),
               "images": len(cached.labels), "side": SIDE, "columns": columns}
    with open(f"{FOLDER}/page.html", encoding="utf-8") as file:
        html = file.read()
    with open(f"{FOLDER}/page.js", encoding="utf-8") as file:
        script = file.read()
    image = base64.b64encode(
        sprite.encoded(picture, "WEBP", quality=80)).decode()
    for name, value in [
            ("PLOTLY", get_plotlyjs()), ("SCRIPT", script),
            ("SPRITE", f"data:image/webp;base64,{image}"),
            ("CONTENT", json.dumps(content).replace("<", "\\u003c"))]:
        html = html.replace(f"@{name}@", value, 1)
    files.write_text(path, html)


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
    """Return label errors and leaks by the numbers of their points."""
    number = {int(k): n for n, k in enumerate(chosen)}
    found = {"label_errors": examined.label_errors[:, None].tolist(),
             "leaks": _leaks(cached, examined.exact_duplicates),
             "near_leaks": _leaks(cached, examined.near_duplicates)}
    shown = {name: [[number[k] for k in group] for group in groups
                    if all(k in number for k in group)][:LISTED]
             for name, groups in found.items()}
    return {**shown, **{f"all_{name}": len(groups)
                        for name, groups in found.items()}}


def _leaks(cached, groups):
    """Return those of `groups`, lists of rows, that are in several splits."""
    return [rows for rows in groups if len(set(cached.split[rows])) > 1]


def required_rows(cached, examined):
    """Return the rows that the page must show, most important first."""
    leaks = [*_leaks(cached, examined.exact_duplicates)[:LISTED],
             *_leaks(cached, examined.near_duplicates)[:LISTED]]
    return [*(k for rows in leaks for k in rows if examined.space.usable[k]),
            *examined.label_errors.tolist()[:LISTED]]
