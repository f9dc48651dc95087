#!/usr/bin/env python3
"""Kill `extract` at random moments; compare with an undisturbed run.

Usage: tests/kill_extract.py [KILLS [IMAGES]]

Sends SIGKILL 30 times, in turn to the stage, to DVC (the stage continues) and
to both, on the first 6,000 real images (tests/real_data.py).  After each kill,
`dvc repro extract` must succeed with the same md5 of every out.
"""
import contextlib
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import real_data
from conftest import clone, environment

VICTIMS = ("stage", "dvc", "both")


def processes(project, stage):
    """Return the process ids that run `stage` of `project`."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{path}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            here = os.path.realpath(f"{path}/cwd")
        except OSError:
            continue
        if (f"stages.{stage}".encode() in words
                and here == os.path.realpath(project.path)):
            found.append(int(os.path.basename(path)))
    return found


def start(project, stage, *targets):
    """Start `dvc repro` of `targets` and return it once `stage` runs."""
    repro = subprocess.Popen(
        ["dvc", "repro", *targets], cwd=project.path, env=environment(),
        start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 100
    while not processes(project, stage):
        assert repro.poll() is None, repro.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.1)
    return repro


def remove_incomplete(project):
    """Remove files of DVC that the kill left incomplete; return their names.

    DVC does not write them atomically.  It asks its users to remove its
    rwlock; dvc.lock they restore from git.  It cannot read an empty folder of
    its run cache, which it makes before it writes the entry.
    """
    removed = []
    for name, read in [(".dvc/tmp/rwlock", json.loads),
                       ("dvc.lock", lambda text: text.index("schema:"))]:
        try:
            with open(project.file(name), encoding="utf-8") as file:
                read(file.read())
        except FileNotFoundError:
            continue
        except ValueError:
            os.unlink(project.file(name))
            removed.append(name)
            print(f"{name} was incomplete: removed")
    for folder in glob.glob(project.file(".dvc/cache/runs/*/*")):
        if not os.listdir(folder):    # `make repair` removes it, too
            os.rmdir(folder)
            print(f"{folder} was empty: removed")
    return removed


def write_lock(project, lock):
    """Write the text `lock` to dvc.lock."""
    with open(project.file("dvc.lock"), "w", encoding="utf-8") as file:
        file.write(lock)


def forget(project, lock):
    """Reset `project` to the state after `resize`."""
    shutil.rmtree(project.file("features/scratch"), ignore_errors=True)
    shutil.rmtree(project.file(".dvc/cache/runs"), ignore_errors=True)
    write_lock(project, lock)
    project.run("rm -rf features/*.npy features/views features/*.json")


def finished(project):
    """Return how many rows of the scratch are computed and sealed."""
    rows = 0
    for path in glob.glob(project.file("features/scratch/*/**/*_rows.npy"),
                          recursive=True):
        with contextlib.suppress(OSError, ValueError):    # incomplete
            rows += int(np.load(path)["seal"].any(axis=1).sum())
    return rows


def strike(repro, stages, victim):
    """Send SIGKILL to `victim`, and wait for the end of DVC.

    Args:
        repro: the process of DVC, in a session of its own.
        stages: ids of the processes of stages.
        victim: one of `VICTIMS`.
    """
    if victim == "stage":
        for process in stages:
            with contextlib.suppress(ProcessLookupError):    # it has ended
                os.kill(process, signal.SIGKILL)
    elif victim == "dvc":
        repro.kill()
    else:
        os.killpg(repro.pid, signal.SIGKILL)
    repro.communicate()


def kill(project, victim, pause, after_rows):
    """Start `dvc repro`, kill `victim` `pause` seconds into `extract`.

    With `after_rows`, `pause` starts when the first rows are written.
    """
    repro = start(project, "extract", "extract")
    while after_rows and repro.poll() is None and not finished(project):
        time.sleep(0.005)
    time.sleep(pause)
    strike(repro, processes(project, "extract"), victim)


def computed(text):
    """Return how many rows a run computed, by what it printed."""
    found = re.search(r"extract: computes ([\d,]+) of", text)
    return int(found.group(1).replace(",", "")) if found else 0


def rounds(project, kills):
    """Kill `kills` times, each at a random moment of the stage.

    `project` has run `resize`.  Returns a dictionary for each kill.

    Raises:
        AssertionError: a run failed, wrote other bytes, or computed rows that
            were kept.
    """
    with open(project.file("dvc.lock"), encoding="utf-8") as file:
        lock = file.read()
    begin = time.monotonic()
    done = project.run("dvc repro extract")
    longest = time.monotonic() - begin
    assert done.returncode == 0, done.stdout
    expected, rows = project.md5(), computed(done.stdout)
    found = []
    for number in range(kills):
        forget(project, lock)
        victim, pause = VICTIMS[number % 3], random.uniform(0, longest)
        after_rows = number % 4 < 3    # else at any time, start-up included
        kill(project, victim, pause / 4 if after_rows else pause, after_rows)
        if "dvc.lock" in remove_incomplete(project):
            write_lock(project, lock)
        kept = finished(project)
        done = project.run("dvc repro extract")
        assert done.returncode == 0, done.stdout
        assert project.md5() == expected, done.stdout
        left = computed(done.stdout)
        assert left <= rows - kept and kept >= after_rows, (kept, done.stdout)
        assert ("interrupted run" in done.stdout) == (0 < left < rows)
        found.append({"victim": victim, "rows": rows, "rows_kept": kept,
                      "rows_left": left})
        print(json.dumps(found[-1]), flush=True)
    assert not project.run("find . -name '*.part'").stdout
    return found


def main(kills=30, images=6000):
    """Run `rounds` on real images."""
    source, weights = real_data.unpack()
    few = os.path.join(real_data.BUILD, "few.npz")
    with np.load(source) as data:
        np.savez(few, **{name: data[name][:images // (1 if "train" in name
                                                      else 6)]
                         for name in data})
    shutil.rmtree(os.path.join(real_data.BUILD, "killed"), ignore_errors=True)
    project = clone(os.path.join(real_data.BUILD, "killed"))
    project.set(data__source=few, backbone__weights=weights)
    begin = time.monotonic()
    assert project.run("dvc repro resize").returncode == 0
    found = rounds(project, kills)
    print(f"{len(found)} kills, all recovered with the same bytes, in "
          f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
