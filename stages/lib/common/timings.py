#!/usr/bin/env python3
"""Seconds that stages took, recorded under logs/.

They differ from run to run, so they are not an output of a stage.  A result
that DVC restored was not computed here and has no record.
"""
import json
import os

from stages.lib.common import files

PATH = "logs/timings.jsonl"


def record(result, seconds, images=None):
    """Append a line to the record.

    Args:
        result: digest of what was computed.
        seconds: how long it took.
        images: how many images were processed.
    """
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    with files.storage_errors(PATH), open(PATH, "a",
                                          encoding="utf-8") as file:
        file.write(json.dumps({"made": result, "seconds": round(seconds, 1),
                               "images": images}) + "\n")


def find(result):
    """Return the records of the digest `result`, oldest first.

    Each is a dictionary.  Incomplete lines, left by a full disk, are skipped.
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
    return [line for line in found if line["made"] == result]
