#!/usr/bin/env python3
"""`kill -9` in every stage; the next `dvc repro` ends with the same bytes."""
import os
import random
import signal
import time

import numpy as np
import pytest
from conftest import STAGES, clone, images, settle
from kill_extract import processes, remove_incomplete, rounds, start


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.slow
def test_kill(finished, tmp_path):
    """Kill DVC and the stage at a random moment of each stage in turn.

    The project is at another path than `finished`: bytes do not depend on
    the path.
    """
    project = clone(tmp_path / "elsewhere")
    settle(project, finished.folder)
    for stage in STAGES:
        repro = start(project, stage)
        pause = random.uniform(0, 3)
        print(f"{stage}: killed after {pause:.3f} s")    # if the test fails
        end = time.monotonic() + pause
        while time.monotonic() < end and processes(project, stage):
            time.sleep(0.1)    # or until the stage ends
        os.killpg(repro.pid, signal.SIGKILL)
        repro.wait()
        remove_incomplete(project)
    project.repro()
    assert project.md5() == finished.md5()
    assert not project.run("find . -name '*.part'").stdout


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.slow
def test_killed_extraction(finished, tmp_path):
    """The short version of tests/kill_extract.py: stage, DVC, both."""
    (x, y), (x_test, y_test) = images(0, 400), images(1, 80)
    np.savez(tmp_path / "tiny.npz", x_train=x, y_train=y, x_test=x_test,
             y_test=y_test)
    os.symlink(f"{finished.folder}/tiny.h5", tmp_path / "tiny.h5")
    project = clone(tmp_path / "project")
    settle(project, str(tmp_path))
    assert project.run("dvc repro resize").returncode == 0
    rounds(project, kills=3)
