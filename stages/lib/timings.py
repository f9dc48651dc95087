#!/usr/bin/env python3
"""What computing took: seconds, noted beside what they made.

They differ from run to run, so they are no artefact: logs/ keeps them.  A
result that DVC restored was not computed here, and has none.
"""
import json
import os

from stages.lib import files

PATH = "logs/timings.jsonl"


def note(made, seconds, images=None):
    """Append a line: `made`, a digest, took `seconds`, for so many images."""
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    with files.explained(PATH), open(PATH, "a", encoding="utf-8") as file:
        file.write(json.dumps({"made": made, "seconds": round(seconds, 1),
                               "images": images}) + "\n")


def of(made):
    """Return the lines about `made`, dictionaries, oldest first.

    A line that was torn by a full disk is passed over.
    """
    try:
        with open(PATH, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in found if line["made"] == made]
