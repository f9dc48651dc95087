#!/usr/bin/env python3
"""What a stage depends on, compared before and after it ran.

When a stage has ended, DVC hashes its dependencies and reads params.yaml.
What was changed while the stage ran would be recorded as the input of a result
that was made from something else, and no later run would notice.
"""
import hashlib
import os

from stages.lib.common import errors, files, seals, yaml_models

# Compared by their bytes: programs write them again without a change.
TEXT = (".py", ".yaml", ".lock", ".csv", ".json")
SHOWN = 3

_before = {}    # of the stage that runs


def begin(file):
    """Remember the inputs of a stage.

    Args:
        file: of the stage or command.
    """
    _before.clear()
    _before.update(state(file))


def written(folder):
    """Remember the files of `folder`, which the stage has just written."""
    _before.update(_of_folder(folder))


def check(file):
    """Raise a PipelineError if an input has changed since `begin`.

    Args:
        file: of the stage or command.
    """
    after = state(file)
    changed = [name for name in sorted({**_before, **after})
               if _before.get(name) != after.get(name)] if after else []
    if changed:
        more = len(changed) - SHOWN
        raise errors.PipelineError(
            f"{', '.join(changed[:SHOWN])}{f' and {more:,} more' * (more > 0)}"
            ": changed while this stage ran, so DVC does not record its "
            "result; run `dvc repro` again")


def state(file):
    """Return name -> what it is, for parameters, files and folders.

    Args:
        file: of the stage, "…/stages/train.py"; {} is returned for others.
    """
    project, stage = seals.stage_of(file)
    if stage is None:
        return {}
    described = yaml_models.read(f"{project}dvc.yaml")["stages"].get(stage, {})
    values = yaml_models.read("params.yaml")
    ours = yaml_models.read(f"{project}params.yaml") if project else values
    found = {name: yaml_models.value(ours, name)
             for name in described.get("params", ())}
    for dep in described.get("deps", ()):
        path = os.path.normpath(project + yaml_models.filled(dep, values))
        found.update(_of_folder(path) if os.path.isdir(path)
                     else {path: _of_file(path)})
    return found


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
