#!/usr/bin/env python3
"""The page to explore cached features: one file, no network."""
import base64
import json
import os

import numpy as np

from stages.lib import files
from stages.lib.errors import ParameterError
from stages.lib.inspection.neighbours import nearest
from stages.lib.inspection.report import described, place
from stages.lib.inspection.sprite import encoded, sprite

FOLDER = os.path.dirname(os.path.abspath(__file__))
SIDE = 32          # pixels of a picture
NEIGHBOURS = 8     # shown of each point
LISTED = 100       # suspects, and leaks


def write(path, cached, examined, chosen, flat, predicted):
    """Write the page.

    Args:
        path: of the page.
        cached: `cached.Cached`.
        examined: `doctor.Examined`.
        chosen: row numbers of the points, ascending.
        flat: float32 (points, 2), where they are.
        predicted: integer (points,), classes, or None without a head.

    Raises:
        ParameterError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs    # an extra, 5 MB of script
    except ImportError as error:
        raise ParameterError("--html needs a package: pip install plotly"
                             ) from error
    picture, columns = sprite(cached, chosen, SIDE)
    content = {**_points(cached, examined, chosen, flat, predicted),
               **_lists(cached, examined, chosen),
               "key": described(cached.manifest["key"]),
               "side": SIDE, "columns": columns}
    with open(f"{FOLDER}/page.html", encoding="utf-8") as file:
        text = file.read()
    with open(f"{FOLDER}/page.js", encoding="utf-8") as file:
        script = file.read()
    image = base64.b64encode(encoded(picture, "WEBP", quality=80)).decode()
    for name, value in [
            ("PLOTLY", get_plotlyjs()), ("SCRIPT", script),
            ("SPRITE", f"data:image/webp;base64,{image}"),
            ("CONTENT", json.dumps(content).replace("<", "\\u003c"))]:
        text = text.replace(f"@{name}@", value, 1)
    files.write_text(path, text)


def _points(cached, examined, chosen, flat, predicted):
    """Return what the page knows of each point, lists of equal length."""
    points = examined.space.points[chosen]
    every = np.arange(len(chosen))
    found = nearest(points, every, every, NEIGHBOURS)
    voted = examined.shares[chosen].argmax(1)
    # Four digits place a point on any screen.
    return {"x": [float(f"{v:.4g}") for v in flat[:, 0]],
            "y": [float(f"{v:.4g}") for v in flat[:, 1]],
            "names": cached.names, "splits": list(files.SPLITS),
            "label": cached.labels[chosen].tolist(),
            "split": cached.split[chosen].tolist(),
            "voted": voted.tolist(),
            "predicted": None if predicted is None else predicted.tolist(),
            "where": [place(cached.where(k)) for k in chosen],
            "near": found.rows.tolist()}


def _lists(cached, examined, chosen):
    """Return suspects and groups of copies by the numbers of their points."""
    number = {int(k): n for n, k in enumerate(chosen)}
    suspects = [number[k] for k in examined.suspects.tolist() if k in number]
    copies = [[number[k] for k in group] for group in examined.twins
              if all(k in number for k in group)]
    leaks = [group for group in copies
             if len(set(cached.split[chosen[group]])) > 1]
    return {"suspects": suspects[:LISTED], "leaks": leaks[:LISTED],
            "all_suspects": len(examined.suspects),
            "all_leaks": sum(len(set(cached.split[group])) > 1
                             for group in examined.twins)}


def wanted(cached, examined):
    """Return the rows that a page must show, the most important first."""
    leaks = [k for group in examined.twins
             if len(set(cached.split[group])) > 1 for k in group
             if examined.space.usable[k]]
    return [*leaks[:4 * LISTED], *examined.suspects.tolist()[:LISTED]]
