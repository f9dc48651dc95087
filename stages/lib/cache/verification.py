#!/usr/bin/env python3
"""Find every damaged file that DVC tracks."""
import contextlib
import hashlib
import os
from typing import NamedTuple

import numpy as np

from stages.lib.cache import row_store, tracked_files
from stages.lib.common import errors, files, manifest, seals

SHOWN = 10    # damaged rows


class Fault(NamedTuple):
    """A file that is damaged or missing.

    path: of the file; why: for people.
    out: the `tracked_files.Out` it belongs to, or None.
    accepted: digests that DVC accepted for it: dvc.lock has them, its seal
        does not.
    """

    path: str
    why: str
    out: object = None
    accepted: tuple = ()

    def __str__(self):
        """Return the line about it."""
        by = f"; written by {self.out.stage}" if self.out else ""
        return f"{self.path}: {self.why}{by}"


class Verification:
    """The result for one project.

    Attributes:
        project: `tracked_files.Project`.
        faults: list of `Fault`; with `out` None, of DVC's cache.
        good: md5 -> path of a file of an out that is good; of a folder, the
            folder.
        digests: path of each file -> md5.
    """

    def __init__(self, project, only=()):
        """Read all files of `project`; or the outs `only`, and no cache."""
        self.project, self.good, self.faults = project, {}, []
        outs = [out for out in project.outs if not only or out.path in only]
        objects = {} if only else project.objects()
        self.digests = tracked_files.md5s([
            *objects, *(path for out in outs for path in out.files)])
        wrong = {path: md5 for path, md5 in objects.items()
                 if self.digests[path] != md5.replace(".dir", "")}
        self._wrong = {self.digests[path] for path in wrong}
        self._sealed = _sealed(project)
        for out in outs:
            self._check(out)
        whose = {md5: path for out in outs
                 for path, md5 in self._of(out).items()}
        self.faults += [Fault(path, self._differs(
            path, "not the bytes of its name") + "; " + (
                f"the copy of {whose[md5]}" if md5 in whose
                else "of no current out") + " in DVC's cache")
            for path, md5 in wrong.items()]
        self.faults += [Fault(path, (
            "empty" if os.path.isdir(path) else "not the bytes of its name")
            + "; in DVC's run cache")
            for path in (() if only else project.runs())
            if not tracked_files.is_run(path)]

    def _of(self, out):
        """Return path -> md5 of an out; of a folder, of its files, too."""
        found = {out.path: out.md5}
        path = self.project.object(out.md5)
        if out.md5.endswith(".dir") and os.path.exists(path) and (
                self.digests[path] if path in self.digests
                else files.digest(path, "md5")) == out.md5[:-len(".dir")]:
            found.update({os.path.join(out.path, entry["relpath"]):
                          entry["md5"] for entry in files.read_json(path)})
        return found

    def _check(self, out):
        """Add the faults of `out`."""
        if not os.path.exists(out.path):
            known = {*self._of(out), *self._sealed, *manifest.FIXED}
            self.faults += [
                Fault(path, "missing", out) for path in sorted(known)
                if path == out.path or path.startswith(f"{out.path}/")]
            return
        digests = {path: self.digests[path] for path in out.files}
        md5 = digests.get(out.path)
        if os.path.isdir(out.path):
            md5 = hashlib.md5(tracked_files.of_folder(
                out.path, digests)).hexdigest() + ".dir"
        if md5 == out.md5:    # is it what the stage wrote?
            faults = [Fault(path, why, out, (digest, md5))
                      for path, digest in digests.items()
                      for why in [self._why(path, digest)] if why]
        else:
            known = self._of(out)
            changed = [path for path in {**digests, **known}
                       if digests.get(path, "") != known.get(path, "")
                       and path != out.path] or [out.path]
            faults = [Fault(path, self._differs(
                path, "differs from dvc.lock", damaged_rows), out)
                for path in changed]
        if not faults:
            self.good.update({digest: path for path, digest
                              in digests.items()})
            self.good[out.md5] = out.path
        self.faults += faults

    def _differs(self, path, why, more=lambda _: ""):
        """Return `why` and `more(path)`, unless the disk cannot even read it.
        """
        return ("cannot be read" if self.digests.get(path, "") is None
                else why + more(path))

    def _why(self, path, md5):
        """Return what is wrong with a file that is as in dvc.lock, or None.
        """
        if path in manifest.PATHS or path.startswith(
                os.path.dirname(seals.path("", self.project.folder)) + "/"):
            try:
                seals.read_json(path)
            except errors.ArtefactError:
                return "differs from the digest inside it"
        seal, expected = self._sealed.get(path, (None, None))
        try:
            if seal and expected != (files.digest(path, "sha256")
                                     if seal in manifest.PATHS
                                     else seals.digest(path)):
                return f"differs from {seal}" + damaged_rows(path)
        except errors.ArtefactError:    # not even an array
            return f"differs from {seal}"
        if md5 in self._wrong:
            return "has the bytes of a damaged file in DVC's cache"
        return None


def _sealed(project):
    """Return path -> its seal and its digest, of all that can be read.

    A seal that is missing is read in DVC's cache.
    """
    copies = {out.path: project.object(out.md5) for out in project.outs}
    found = {}
    for stage in project.stages:
        seal = seals.path(stage, project.folder)
        try:
            found.update({path: (seal, digest) for path, digest
                          in seals.read_json(_copy(seal, copies))[
                              "sha256"].items()})
        except (errors.ArtefactError, KeyError, AttributeError):
            continue
    for sealed in () if project.folder else manifest.PATHS:
        with contextlib.suppress(errors.ArtefactError, KeyError,
                                 AttributeError):
            found.update({path: (sealed, array["sha256"]) for path, array
                          in manifest.read(path=_copy(sealed, copies))[
                              "arrays"].items()})
    return found


def _copy(path, copies):
    """Return `path`, or if it is missing that of its copy, if it has one."""
    return path if os.path.exists(path) else copies.get(path, path)


def damaged_rows(path):
    """Return which rows of an array of features are damaged, or ""."""
    if not (path.startswith("features/") and path.endswith("_x.npy")):
        return ""
    try:
        good, _ = row_store.StoredRows(
            path, path.replace("_x.npy", "_rows.npy")).check()
    except errors.ArtefactError:
        return ": no row of it can be used"
    rows = np.flatnonzero(~good)
    return f": {len(rows):,} damaged rows: " + ", ".join(
        map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
