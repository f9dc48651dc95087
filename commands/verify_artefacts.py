#!/usr/bin/env python3
"""Compare all files that DVC tracks with what was written; repair them."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."

import argparse
import os
import shutil

from stages.lib.cache import repair, tracked_files, verification
from stages.lib.common import errors, seals, stage

ABOUT = """Read every out of dvc.lock, every file of DVC's cache and of its
run cache, and compare them with their digests.  The exit status is 1 if one
is damaged or missing; each is named."""
ONLY = "compare this out, or these, and nothing else"
REPAIR = """move damaged files aside, also in DVC's cache, which would restore
them; run the stages that write them; verify again"""


def verify(folder, only=()):
    """Return the `Verification` of the DVC project in `folder`.

    Args:
        folder: "" or "compare/".
        only: paths of outs; by default, all files are compared.
    """
    found = verification.Verification(tracked_files.Project(folder), only)
    print(f"verify_artefacts: {folder or '.'}: {len(found.digests):,} files, "
          f"{len(found.faults):,} damaged or missing", flush=True)
    return found


def main():
    """Verify; repair on request; fail if anything is still damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.verify_artefacts", description=ABOUT)
    parser.add_argument("outs", metavar="OUT", nargs="*", help=ONLY)
    parser.add_argument("--repair", action="store_true", help=REPAIR)
    given = parser.parse_args()
    if given.outs and given.repair:
        parser.error("--repair needs to compare everything: name no OUT")
    if not os.path.exists("dvc.lock"):
        raise errors.ArtefactError("dvc.lock: missing; run `dvc repro`")
    folders = [folder for folder in seals.FOLDERS.values()
               if os.path.exists(f"{folder}dvc.lock")]
    outs = list(map(os.path.normpath, given.outs))
    known = [out for folder in folders
             for written in seals.outs(folder).values() for out in written]
    for out in outs:
        if out not in known:
            raise errors.ArtefactError(f"{out}: no stage writes it")
    wrong = []
    for folder in folders:    # those of compare/ depend on the others
        found = verify(folder, outs)
        if found.faults and given.repair:
            print(*found.faults, sep="\n", flush=True)
            repair.repair(found)
            found = verify(folder)
        wrong += found.faults
    if wrong:
        raise errors.ArtefactError("\n".join([
            f"damaged or missing: {len(wrong):,} files", *map(str, wrong),
            "to replace them, run `make repair`, then `dvc repro`"]))
    if not outs:
        shutil.rmtree(repair.ASIDE, ignore_errors=True)


if __name__ == "__main__":
    stage.run(main)
