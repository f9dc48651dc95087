#!/usr/bin/env python3
"""What a stage depends on, compared before and after it ran.

When a stage has ended, DVC hashes its dependencies and reads params.yaml.
What was changed while the stage ran would be recorded as the input of a result
that was made from something else, and no later run would notice.
"""
import os
import re

from stages.lib.common import errors, seals, watched_files, yaml_models

LINKS = watched_files.IMAGES, watched_files.MODEL    # stages write them
SHOWN = 3


def state(file):
    """Return name -> value of the parameters, size and time of the files.

    Hidden files are left out: viewers of folders write some.

    Args:
        file: of the stage, "…/stages/train.py"; {} is returned for others.
    """
    project, stage = seals.stage_of(file)
    if stage is None:
        return {}
    found = yaml_models.read(f"{project}dvc.yaml")["stages"].get(stage, {})
    values, ours = (yaml_models.read(path) for path in (
        "params.yaml", f"{project}params.yaml"))
    paths = [os.path.normpath(project + re.sub(
        r"\$\{([\w.]+)\}", lambda name: str(_value(values, name[1])), path))
        for path in found.get("deps", ())]
    return {**{name: _value(ours, name) for name in found.get("params", ())},
            **{path: _about(path) for dep in paths for path in _files(dep)}}


def check(before, after):
    """Raise a PipelineError if an input has changed.

    Args:
        before, after: what `state` returned.
    """
    changed = [name for name in sorted({**before, **after})
               if before.get(name) != after.get(name)
               and (not name.startswith(LINKS)
                    or name in before and name in after)]
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


def _files(path):
    """Yield the path of a file, or of those in a folder."""
    if not os.path.isdir(path):
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders
                      if not name.startswith((".", "__pycache__"))]
        for name in names:
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _about(path):
    """Return size and time of a file, of that behind a link; or None."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
