#!/usr/bin/env python3
"""`kill -9` in every stage; the next `dvc repro` ends with the same bytes."""
import glob
import os
import random
import signal
import subprocess
import time

import pytest
from conftest import STAGES, clone, environment, settle


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


def start(project, stage):
    """Start `dvc repro` and return it once `stage` runs."""
    repro = subprocess.Popen(
        ["dvc", "repro"], cwd=project.path, env=environment(),
        start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 100
    while not processes(project, stage):
        assert repro.poll() is None, repro.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.02)
    return repro


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_kill(finished, tmp_path):
    """Kill DVC and stage at a random moment of each stage in turn.

    In `extract`, DVC alone is killed, and its child goes on writing.  The
    project lies at another path than `finished`: bytes do not depend on it.
    """
    project = clone(tmp_path / "elsewhere")
    settle(project, finished.folder)
    for stage in STAGES:
        repro = start(project, stage)
        pause = random.uniform(0, 3)
        print(f"{stage}: killed after {pause:.3f} s")    # if the test fails
        time.sleep(pause)
        if stage == "extract":
            repro.kill()
        else:
            os.killpg(repro.pid, signal.SIGKILL)
        repro.wait()
    project.repro()
    assert project.md5() == finished.md5()
    assert not project.run("find . -name '*.part'").stdout
