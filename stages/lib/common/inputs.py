#!/usr/bin/env python3
"""What a stage depends on, compared before and after it ran.

When a stage has ended, DVC hashes its dependencies and reads params.yaml.
What was changed while the stage ran would be recorded as the input of a result
that was made from something else, and no later run would notice.
"""
import hashlib
import os
import re

from stages.lib.common import errors, files, seals, watched_files, yaml_models

LINKS = watched_files.IMAGES, watched_files.MODEL    # stages write them
TEXT = (".py", ".yaml", ".lock")    # may be written again without a change
SHOWN = 3


def state(file):
    """Return name -> what it is, for parameters, files and folders.

    Args:
        file: of the stage, "…/stages/train.py"; {} is returned for others.
    """
    project, stage = seals.stage_of(file)
    if stage is None:
        return {}
    described = yaml_models.read(f"{project}dvc.yaml")["stages"].get(stage, {})
    values, ours = (yaml_models.read(path) for path in (
        "params.yaml", f"{project}params.yaml"))
    found = {name: _value(ours, name) for name in described.get("params", ())}
    for dep in described.get("deps", ()):
        path = os.path.normpath(project + re.sub(
            r"\$\{([\w.]+)\}", lambda name: str(_value(values, name[1])), dep))
        if path not in LINKS:
            found.update(_of_folder(path) if os.path.isdir(path)
                         else {path: _of_file(path)})
    return found


def check(before, after):
    """Raise a PipelineError if an input has changed.

    Args:
        before, after: what `state` returned.
    """
    changed = [name for name in sorted({**before, **after})
               if before.get(name) != after.get(name)]
    if changed:
        more = len(changed) - SHOWN
        raise errors.PipelineError(
            f"{', '.join(changed[:SHOWN])}{f' and {more:,} more' * (more > 0)}"
            ": changed while this stage ran, so its result is not kept; run "
            "`dvc repro` again")


def _value(values, name):
    """Return the parameter `name`, such as "train.epochs", or None."""
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _of_folder(path):
    """Return folder -> number and digest of its files, for all in `path`.

    One number a folder: there may be a million files.  Hidden files are left
    out: viewers of folders write some.
    """
    found = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders
                      if not files.is_hidden(name) and name != "__pycache__"]
        count = total = 0
        for name in names:
            if not files.is_hidden(name):
                about = f"{name} {_of_file(os.path.join(folder, name))}"
                count, total = count + 1, total ^ int.from_bytes(
                    hashlib.sha256(os.fsencode(about)).digest()[:8], "big")
        found[folder] = count, total
    return found


def _of_file(path):
    """Return size and time of a file, the digest of a text; None: missing."""
    try:
        if path.endswith(TEXT):
            return files.digest(path, "sha256")
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
