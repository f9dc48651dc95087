#!/usr/bin/env python3
"""Seals: digests of what a stage wrote, compared by those who read it.

Files are hard links to DVC's cache.  DVC does not read them again, so it does
not notice what a disk changes, and restores it from its cache.  A stage that
ends well writes the digests of its outs to `seals/{stage}.json`.  That file
contains a digest of itself.
"""
import hashlib
import json
import os

from stages.lib.common import arrays, digests, errors, files, yaml_models

FOLDERS = {"stages": "", "compare": "compare/"}    # package -> DVC project
LOCK = "dvc.lock"


def path(stage, project=""):
    """Return the path of the seal of a stage of a DVC project."""
    return f"{project}seals/{stage}.json"


def outs(project=""):
    """Return stage -> paths of its outs, from dvc.yaml, in their order.

    Args:
        project: its folder, "" or "compare/".
    """
    values = yaml_models.read("params.yaml")

    def resolved(out):
        """Return the path of an out as dvc.yaml declares it."""
        name = next(iter(out)) if isinstance(out, dict) else out
        return project + yaml_models.filled(name, values)

    stages = yaml_models.read(f"{project}dvc.yaml")["stages"]
    return {name: [resolved(out) for out in one["outs"]]
            for name, one in stages.items()}


def stage_of(file):
    """Return the DVC project's folder and the name of a stage; ("", None) of
    a command.

    Args:
        file: of the stage or command, "…/stages/train.py".
    """
    package, stage = os.path.splitext(file)[0].split(os.sep)[-2:]
    return (FOLDERS[package], stage) if package in FOLDERS else ("", None)


def write(file, known=None):
    """Seal the outs of a stage, if its seal is one of them.

    What `prepare` writes under results/ is not sealed: no stage reads it, and
    a new rejected file would change the seal, on which other stages depend.

    Args:
        file: of the stage or command.
        known: name -> its `digest`, of files that need not be read again.
    """
    project, stage = stage_of(file)
    if stage is None:
        return
    ours, seal = outs(project).get(stage, ()), path(stage, project)
    if seal in ours:
        write_json(seal, {"sha256": {
            name: (known or {}).get(name) or digest(name)
            for out in ours for name in files.inside(out)
            if out != seal and not (stage == "prepare"
                                    and out.startswith("results/"))}})


def digest(name):
    """Return the SHA-256 of the file `name`, in hexadecimal.

    For the images of a split it is that of their rows' digests, which take
    all cores, and which `extract` computes in any case.

    Raises:
        ArtefactError: missing or damaged.
    """
    if name.endswith("_x.npy"):
        array = arrays.open_array(name)
        return of_rows(array, digests.of_all(
            lambda rows: array[rows[0]:rows[-1] + 1], len(array)))
    try:
        return files.digest(name, "sha256")
    except OSError as error:
        raise files.unusable(name, error) from error


def of_rows(array, rows):
    """Return the `digest` of an array.

    Args:
        array: any, (n, …), or an `arrays.ArrayWriter`.
        rows: digests of its rows, uint8 (n, 16).
    """
    header = f"{array.dtype.str} {array.shape} "
    return hashlib.sha256(header.encode() + rows.tobytes()).hexdigest()


def check(stage, *names, project="", known=None):
    """Raise an ArtefactError unless files are as `stage` wrote them.

    Args:
        stage: its name.
        names: paths of some of its outs.
        project: the folder of its DVC project.
        known: name -> its `digest`, of files that need not be read again.

    Raises:
        ArtefactError: one is missing or damaged, or its seal is.
    """
    seal = path(stage, project)
    sealed = read_json(seal).get("sha256", {})
    for name in names:
        if sealed.get(name) != ((known or {}).get(name) or digest(name)):
            raise errors.ArtefactError(
                f"{name}: damaged: its SHA-256 differs from that in {seal}; "
                f"{files.REPAIR}")


def check_order(first, *readers):
    """Raise an ArtefactError if `first` ran again, and one of `readers` not.

    What that one wrote could then be of other images, row by row.  DVC
    records what each stage has read and written.
    """
    if not os.path.exists(LOCK):    # the stages were run without DVC
        return
    try:
        locked = yaml_models.read(LOCK)["stages"]
        made = {out["path"]: out["md5"]
                for out in locked.get(first, {}).get("outs", ())}
        for reader in readers:
            for dep in locked.get(reader, {}).get("deps", ()):
                if made.get(dep["path"], dep["md5"]) != dep["md5"]:
                    raise errors.ArtefactError(
                        f"{dep['path']}: newer than what {reader} made of it; "
                        "run `dvc repro`")
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged_lock(LOCK) from error


def damaged_lock(name):
    """Return the ArtefactError about a dvc.lock."""
    return errors.ArtefactError(
        f"{name}: damaged; restore it from git, or delete it and run "
        "`dvc repro`")


def write_json(name, content):
    """Write a dictionary as JSON with a digest of itself."""
    files.write_json(name, {**content, "seal": _of_content(content)})


def read_json(name):
    """Return the dictionary that `write_json` wrote.

    Raises:
        ArtefactError: missing or damaged.
    """
    found = files.read_json(name)
    if not isinstance(found, dict) or found.pop("seal", 0) != _of_content(
            found):
        raise errors.ArtefactError(
            f"{name}: damaged: not as it was written; {files.REPAIR}")
    return found


def _of_content(content):
    """Return the SHA-256 of a dictionary, in hexadecimal."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
