#!/usr/bin/env python3
"""Kill `dvc repro` at random moments of all stages; compare the result.

Usage: tests/kill_pipeline.py [KILLS]

Runs the pipeline on the tiny data of the tests from nothing to the exported
file, again and again, and sends SIGKILL 300 times, in turn to the stage, to
DVC (the stage continues) and to both. After `EACH` kills, or when the pipeline
has ended, `dvc repro` must end with the md5 of an undisturbed run.
"""
import collections
import contextlib
import random
import subprocess
import sys
import tempfile
import time

import numpy as np
from conftest import (
    ROOT, STAGES, clone, environment, settle, tiny_arrays, tiny_weights)
from kill_extract import VICTIMS, processes, remove_incomplete, strike

sys.path.insert(0, ROOT)

EACH = 12    # kills until the pipeline may end
LONGEST = 15    # seconds until a kill: the start and one or two stages
FORGET = ("rm -rf data/prepared data/resized features models/head.h5 "
          "models/export models/scratch results seals cifar10.h5 "
          ".dvc/cache dvc.lock")


def running(project):
    """Return stage -> process ids, of the stages that run."""
    found = {stage: processes(project, stage) for stage in STAGES}
    return {stage: ids for stage, ids in found.items() if ids}


def kill(project, victim):
    """Start `dvc repro`, kill `victim` at a random moment.

    Returns:
        The stage that ran, "DVC" between stages, or None if all had ended.
    """
    repro = subprocess.Popen(
        ["dvc", "repro"], cwd=project.path, env=environment(),
        start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        repro.wait(random.uniform(0, LONGEST))
    stages = running(project)
    if repro.poll() is not None:
        return None
    strike(repro, sum(stages.values(), []),
           victim if stages or victim == "dvc" else "both")
    while running(project):    # DVC was killed, its stage goes on
        time.sleep(0.1)
    remove_incomplete(project)
    return next(iter(stages), "DVC")


def main(kills=300):
    """Run it; print how often each stage was killed."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/tiny.npz", **tiny_arrays())
        tiny_weights(f"{folder}/tiny.h5")
        project = clone(f"{folder}/project")
        settle(project, folder)
        project.set(export__formats=["h5"])
        assert project.repro() == STAGES
        expected, hit = project.md5(), collections.Counter()
        while sum(hit.values()) < kills:
            print(project.run(FORGET).stdout, end="")
            for _ in range(EACH):
                stage = kill(project, VICTIMS[
                    sum(hit.values()) % len(VICTIMS)])
                if stage is None:
                    break
                hit[stage] += 1
            project.repro()
            assert project.md5() == expected
            assert not project.run("find . -name '*.part'").stdout
            print(f"{sum(hit.values())} kills: {dict(hit)}", flush=True)
    print("all ended with the same bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
