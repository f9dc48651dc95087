#!/usr/bin/env python3
"""What DVC tracks: the outs in dvc.lock, the objects of its cache, its runs.

Everything is read as files.  DVC's own commands trust its data base, which
says what a file was when DVC last read it.
"""
import glob
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from stages.lib.common import (
    errors, files, parallel, progress, seals, yaml_models)

BLOCK = 1 << 20    # bytes read at a time


class Out(NamedTuple):
    """An out of dvc.lock; the md5 of a folder ends with .dir."""

    path: str
    md5: str
    stage: str

    @property
    def files(self):
        """Return the files of this out, one unless it is a folder."""
        return files.inside(self.path) if os.path.exists(self.path) else []


class Project:
    """A DVC project.

    Attributes:
        folder: "" or "compare/".
        stages: names, in the order of dvc.yaml.
        outs: list of `Out`.
    """

    def __init__(self, folder):
        """Read dvc.yaml and dvc.lock in `folder`.

        Raises:
            ArtefactError: DVC does not work here, or dvc.lock is damaged.
        """
        from dvc.exceptions import DvcException
        from dvc.repo import Repo    # half a second
        self.folder, self.stages = folder, list(seals.outs(folder))
        try:
            cache = Repo(folder or ".").cache
        except DvcException as error:
            raise errors.ArtefactError(f"{error}; run `git init` once"
                                       ) from error
        self._objects = os.path.relpath(cache.local.path)
        self._runs = os.path.join(os.path.relpath(cache.legacy.path), "runs")
        lock = f"{folder}dvc.lock"
        locked = (yaml_models.read(lock) if os.path.exists(lock)
                  else {"stages": {}})
        try:
            self.outs = [Out(folder + out["path"], out["md5"], stage)
                         for stage in self.stages
                         for out in locked["stages"].get(stage, {}).get(
                             "outs", ())]
        except (KeyError, TypeError, AttributeError) as error:
            raise seals.damaged_lock(lock) from error

    def objects(self):
        """Return path -> md5 of its name, of all objects of DVC's cache."""
        found = {}
        for path in sorted(glob.glob(f"{self._objects}/??/*")):
            name = path[-len("ab/") - len(os.path.basename(path)):]
            md5 = name.replace(os.sep, "")
            if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):
                found[path] = md5
        return found

    def object(self, md5):
        """Return the path of the object `md5` in DVC's cache."""
        return os.path.join(self._objects, md5[:2], md5[2:])

    def runs(self):
        """Return the paths of the entries of the run cache.

        And of its empty folders: DVC ends with an error at them, and leaves
        one where it is killed before it writes the entry.
        """
        return sorted(path for folder in glob.glob(f"{self._runs}/*/*")
                      for path in files.inside(folder) or [folder])


def md5s(paths):
    """Return path -> md5 of its bytes; None if it cannot be read.

    On all cores; a file with many links is read once.
    """
    links, size = {}, {}
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:    # a link in a folder that leads nowhere
            links[path], size[path] = [path], 0
            continue
        inode = found.st_dev, found.st_ino
        links.setdefault(inode, []).append(path)
        size[inode] = found.st_size
    order = sorted(links, key=lambda inode: -size[inode])
    total = sum(-(-size[inode] // BLOCK) for inode in order)
    with progress.bar("verify", total, "MiB") as bar, ThreadPoolExecutor(
            parallel.CORES) as pool:
        digests = pool.map(lambda inode: _md5(links[inode][0], bar), order)
        return {path: digest for inode, digest in zip(order, digests)
                for path in links[inode]}


def _md5(path, bar):
    """Return the md5 of a file; None if the disk cannot read it."""
    try:
        return files.digest(path, "md5", bar.update)
    except OSError:
        return None


def of_folder(folder, digests):
    """Return the bytes of DVC's object for a folder.

    Args:
        folder: its path.
        digests: path of each file -> md5.
    """
    return json.dumps(sorted(
        ({"md5": md5, "relpath": os.path.relpath(path, folder)}
         for path, md5 in digests.items()),
        key=lambda entry: entry["relpath"]), sort_keys=True).encode()


def is_run(path):
    """Return whether an entry of the run cache is as DVC wrote it.

    DVC names it after its content, but for the numbers of bytes and files:
    those are in no digest, and DVC counts them itself where it uses the run.
    """
    from dvc import schema
    from dvc.stage import cache
    from dvc.utils import serialize
    key, value = path.split(os.sep)[-2:]
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        found = schema.COMPILED_LOCK_FILE_STAGE_SCHEMA(
            serialize.loads_yaml(text))
        return (serialize.dumps_yaml(found) == text
                and cache._get_cache_hash(found) == value
                and cache._get_cache_hash(found, key=True) == key)
    except Exception:    # whatever a changed text is to these functions
        return False
