#!/usr/bin/env python3
"""Compare all files that DVC tracks with what was written; repair them."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import os
import shutil

from stages.lib.cache import repair, tracked_files, verification
from stages.lib.common import command_line, errors, seals, stage

ABOUT = """Read every out of dvc.lock, every file of DVC's cache and of its
run cache, and compare them with their digests.  The exit status is 1 if one
is damaged or missing; each is named."""
ONLY = "compare this out, or these, and nothing else"
REPAIR = """move damaged files aside, also in DVC's cache, which would restore
them; run the stages that write them; verify again"""


def verify(project, only=()):
    """Return the `Verification` of a DVC project.

    Args:
        project: `tracked_files.Project`.
        only: paths of outs; by default, all files are compared.
    """
    found = verification.Verification(project, only)
    print(f"verify_artefacts: {project.folder or '.'}: "
          f"{len(found.digests):,} files, {len(found.faults):,} damaged or "
          "missing", flush=True)
    return found


def check_outs(outs, projects):
    """Raise an ArtefactError if one of `outs` is not in a dvc.lock.

    Args:
        outs: paths.
        projects: list of `tracked_files.Project`.
    """
    known = [out for project in projects
             for written in seals.outs(project.folder).values()
             for out in written]
    locked = [out.path for project in projects for out in project.outs]
    for out in outs:
        if out not in known:
            raise errors.ArtefactError(f"{out}: no stage writes it")
        if out not in locked:
            raise errors.ArtefactError(f"{out}: not in dvc.lock; run "
                                       "`dvc repro`")


def main():
    """Verify; repair on request; fail if anything is still damaged."""
    parser = command_line.Parser(
        prog="python -m commands.verify_artefacts", description=ABOUT)
    parser.add_argument("outs", metavar="OUT", nargs="*", help=ONLY)
    parser.add_argument("--repair", action="store_true", help=REPAIR)
    given = parser.parse_args()
    if given.outs and given.repair:
        parser.error("--repair needs to compare everything: name no OUT")
    if not os.path.exists("dvc.lock"):
        raise errors.ArtefactError("dvc.lock: missing; run `dvc repro`")
    projects = [tracked_files.Project(folder)
                for folder in seals.FOLDERS.values()
                if os.path.exists(f"{folder}dvc.lock")]
    outs = list(map(os.path.normpath, given.outs))
    check_outs(outs, projects)
    wrong = []
    for project in projects:    # compare/ depends on the other
        found = verify(project, outs)
        if found.faults and given.repair:
            print(*found.faults, sep="\n", flush=True)
            repair.repair(found)
            found = verify(tracked_files.Project(project.folder))
        wrong += found.faults
    if wrong:
        raise errors.ArtefactError("\n".join([
            f"damaged or missing: {len(wrong):,} files", *map(str, wrong),
            f"the disk may be failing; damaged files are in {repair.ASIDE}"
            if given.repair else
            "to replace them, run `make repair`, then `dvc repro`"]))
    if given.repair:
        shutil.rmtree(repair.ASIDE, ignore_errors=True)


if __name__ == "__main__":
    stage.run(main)
