#!/usr/bin/env python3
"""The command of an experiment: its words, and why it failed."""
import json
import re
import sys

from study import sources


def words(name, settings):
    """Return `dvc exp run` up to `evaluate`: nothing is fused.

    Args:
        name: of the experiment.
        settings: key of params.yaml -> value; `~key` removes it.
    """
    found = [sys.executable, "-m", "dvc", "exp", "run", "--name", name]
    for key, value in settings.items():
        removed = value is None and key.startswith("~")
        found += ["-S", key if removed else f"{key}={override(value)}"]
    return [*found, "evaluate"]


def override(value):
    """Return `value` as `dvc exp run -S` takes it."""
    if isinstance(value, str):
        return f"'{value}'"
    return json.dumps(value).replace('"', "'").replace(", ", ",")


def reason(text):
    """Return why an experiment failed: the stage's line in DVC's output."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    stages = [line for line in lines if re.match(
        "(prepare|resize|extract|train|evaluate): ", line)]
    failed = [k for k, line in enumerate(lines)
              if line.startswith("ERROR: failed to reproduce")]
    if failed and failed[0] and lines[failed[0] - 1] in stages:
        return sources.anonymous(lines[failed[0] - 1])
    wrong = [line for line in lines if line.startswith("ERROR: ")] or lines
    return sources.anonymous((wrong or ["killed"])[-1].replace("ERROR: ", ""))
