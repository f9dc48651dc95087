#!/usr/bin/env python3
"""Replace damaged files: move them aside, then let their stages run."""
import contextlib
import glob
import os
import shutil
import subprocess
import sys
import uuid

from stages.lib.cache import lookup, tracked_files
from stages.lib.common import environment, errors, files, manifest, stage

ASIDE = "build/damaged"
BULKY = "data/resized/"    # made again from data/prepared, in a minute


def repair(found):
    """Replace the damaged files of one project.

    DVC restores what is in its cache, so what is damaged there is moved away,
    too.  Then DVC runs the stages whose outs are missing.

    Args:
        found: `verification.Verification`.

    Raises:
        ArtefactError: a stage fails, or is running.
        StorageError: a file cannot be moved or restored.
    """
    project = found.project
    broken = {fault.out for fault in found.faults if fault.out}
    stages = [name for name in project.stages
              if any(out.stage == name for out in broken)]
    with stage.idle(project.stages):
        if not project.folder and "extract" in stages:
            keep_rows(found)
        replace_objects(found)
        for out in broken:
            move(out.path)
    if stages:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "--cd", project.folder or ".",
             "repro", "--single-item", *stages], check=False,
            env=environment.variables())
        if done.returncode:
            raise errors.ArtefactError(
                f"not repaired, see above; damaged files are in {ASIDE}")


def replace_objects(found):
    """Restore the damaged objects of DVC's cache, or move them away.

    Args:
        found: `verification.Verification`.
    """
    project = found.project
    for fault in found.faults:
        if fault.out is None:
            move(fault.path)
            restore(fault.path, found)
            remove_empty(fault.path)
    accepted = {md5 for fault in found.faults for md5 in fault.accepted}
    for path in map(project.object, accepted):
        move(path)
    for path in project.runs():    # DVC looks at the newest entry only
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if any(md5 in text for md5 in accepted):
            move(path)
            remove_empty(path)


def remove_empty(path):
    """Remove the folder that contained `path`, if it is empty now.

    DVC ends with an error at an empty folder of its run cache.
    """
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def move(path):
    """Move a file or folder to `ASIDE`, if it exists.

    Resized images are deleted: their stage needs the disk, and nothing else
    can be read from the damaged ones.
    """
    if not os.path.lexists(path):
        return
    if path.startswith(BULKY):
        with files.storage_errors(path):
            os.unlink(path)
        return
    target = f"{ASIDE}/{uuid.uuid4().hex}/{os.path.basename(path)}"
    with files.storage_errors(target):
        os.makedirs(os.path.dirname(target))
        shutil.move(path, target)


def restore(path, found):
    """Write the object `path` of DVC's cache again, if an out has its bytes.

    Args:
        path: of the object.
        found: `verification.Verification`.
    """
    md5 = "".join(path.split(os.sep)[-2:])
    good = found.good.get(md5)
    if not good:
        return
    if os.path.isdir(good):
        data = tracked_files.of_folder(good, {
            name: digest for name, digest in found.digests.items()
            if name.startswith(good + os.sep)})
        with files.replacing(path) as file:
            file.write(data)
    else:
        with files.replacing(path) as file, open(good, "rb") as source:
            shutil.copyfileobj(source, file)
    os.chmod(path, 0o444)    # as DVC does: it trusts such files


def keep_rows(found):
    """Keep the features where `extract` finds their good rows.

    An array that the disk cannot read is left out, also in the scratch.

    Args:
        found: `verification.Verification`.
    """
    try:
        key = manifest.read()["key"]
    except errors.ArtefactError:
        return
    unreadable = {os.stat(path).st_ino for path, md5 in found.digests.items()
                  if md5 is None and os.path.exists(path)}
    folder = lookup.scratch(key)
    if not os.path.exists(f"{folder}/key.json"):
        files.write_json(f"{folder}/key.json", key)
    for table in glob.glob("features/**/*_rows.npy", recursive=True):
        x_path = table.replace("_rows.npy", "_x.npy")
        if not os.path.exists(x_path):
            continue
        if os.stat(x_path).st_ino in unreadable:
            if table.startswith(lookup.SCRATCH):
                os.unlink(x_path)
            continue
        if table.startswith(lookup.SCRATCH):
            continue
        aside = f"{folder}/{lookup.PRIOR}/{uuid.uuid4().hex}"
        for path in (x_path, table):
            files.link(path, f"{aside}/{os.path.basename(path)}")
