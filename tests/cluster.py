#!/usr/bin/env python3
"""`extract` on a Ray cluster of several nodes on this machine.

Not part of the suite: `python -m pytest -n 0 tests/cluster.py`, in an
environment with the extra cluster.  KILLS is the number of kills at random.
On the first real images and weights if they exist (tests/real_data.py).
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
import tempfile
import time
import uuid

import numpy as np
import pytest
import real_data
from conftest import clone, environment, settle, tiny_arrays, tiny_weights
from kill_extract import (
    computed, finished, forget, processes, remove_incomplete, start)
from ray.cluster_utils import Cluster

MARK = "CLUSTER_TEST"    # in the environment of all processes of a cluster
IMAGES, SIDE = 1500, 96
STORE = 128 << 20
SECONDS = 120
# A line for the clone's worker: which rows it computes, killed or not.
COUNTED = ("                features.append(", """\
                with open({path!r}, "a") as log:
                    log.write("".join(f"{{ids['array'][0]}} {{row}}\\n"
                              for row in ids["row"][part]))
                features.append(""")


def marked(mark):
    """Return the ids of the processes of the cluster `mark`."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for path in glob.glob("/proc/[0-9]*/environ"):
        process = int(path.split("/")[2])
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if process != os.getpid() and wanted in file.read().split(b"\0"):
                found.append(process)
    return found


@contextlib.contextmanager
def cluster(*cpus):
    """Yield a `Cluster`: a head without processors, a node for each number.

    All processes that it leaves are ended, by their ids.
    """
    mark, temporary = uuid.uuid4().hex, tempfile.mkdtemp(dir="/tmp")
    os.environ.update({
        MARK: mark, "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_enable_metrics_collection": "0"})
    made = Cluster()
    try:
        made.add_node(num_cpus=0, object_store_memory=STORE,
                      include_dashboard=False, temp_dir=temporary)
        os.environ["RAY_ADDRESS"] = made.address
        for number in cpus:
            add(made, number)
        yield made
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        made.shutdown()
        del os.environ[MARK]
        for _ in range(50):
            if not marked(mark):
                break
            time.sleep(0.1)
        for process in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(temporary, ignore_errors=True)


def add(made, cpus=1, **options):
    """Add a node with `cpus` processors to a cluster; return it."""
    return made.add_node(num_cpus=cpus, object_store_memory=STORE, **options)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a project after `resize`, its dvc.lock, and the md5 wanted."""
    folder = tmp_path_factory.mktemp("cluster")
    project = clone(folder / "project")
    if real_data.available():
        source, weights = real_data.unpack()
        with np.load(source) as data:
            np.savez(folder / "few.npz", **{
                name: data[name][:IMAGES // (1 if "train" in name else 6)]
                for name in data})
        project.set(data__source=str(folder / "few.npz"),
                    backbone__weights=weights, resize__side=SIDE)
    else:
        np.savez(folder / "tiny.npz", **tiny_arrays())
        tiny_weights(folder / "tiny.h5")
        settle(project, str(folder))
    count(project)
    assert project.run("dvc repro resize").returncode == 0
    with open(project.file("dvc.lock"), encoding="utf-8") as file:
        lock = file.read()
    done = project.run("dvc repro extract")    # on this machine
    assert done.returncode == 0 and "CPUs" not in done.stdout, done.stdout
    return project, lock, project.md5()


def count(project):
    """Let the workers of `project` write down the rows that they compute."""
    path = project.file("stages/lib/cache/cluster_worker.py")
    with open(path, encoding="utf-8") as file:
        code = file.read()
    assert code.count(COUNTED[0]) == 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(code.replace(COUNTED[0], COUNTED[1].format(
            path=project.file("computed.txt"))))


def counted(project):
    """Return how many rows were computed, and how many different ones."""
    with open(project.file("computed.txt"), encoding="utf-8") as file:
        rows = file.read().splitlines()
    return len(rows), len(set(rows))


def reset(prepared):
    """Return the project as after `resize`, nothing computed."""
    project, lock, _ = prepared
    forget(project, lock)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(project.file("computed.txt"))
    return project


def repro(project, **variables):
    """Run `dvc repro extract` with these variables of the environment."""
    return subprocess.run(
        ["dvc", "repro", "extract"], cwd=project.path, check=False, text=True,
        env={**environment(), **variables}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=3 * SECONDS)


def refused(project, **variables):
    """Return the error line of a run that must fail before any work."""
    done = repro(project, **variables)
    assert done.returncode != 0 and not finished(project), done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return re.search("^extract: (.*)$", done.stdout.replace(
        "extract: converting", ""), re.M)[1]


def under_way(rows, cpus):
    """Return the most rows that a kill may cost: the tasks of all workers."""
    task = -(-rows // (8 * cpus))
    return 2 * cpus * (-(-task // 16) * 16)


def ended(process):
    """Return what a run printed, which must succeed."""
    text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, text
    return text


def in_the_middle(project):
    """Start a run; return it when the first rows are there."""
    run = start(project, "extract", "extract")
    while run.poll() is None and not finished(project):
        time.sleep(0.01)
    return run


@pytest.mark.parametrize("cpus", [(1,), (1, 1), (1, 1, 1)])
def test_same_bytes(prepared, cpus):
    """Every row is computed once, with the bytes of one machine."""
    project = reset(prepared)
    with cluster(*cpus):
        done = repro(project)
    assert done.returncode == 0, done.stdout
    assert project.md5() == prepared[2]
    rows = computed(done.stdout)
    assert counted(project) == (rows, rows)
    for noise in ("INFO", "WARN", "Warning", "ray"):
        assert noise not in done.stdout, done.stdout


def test_lost_node(prepared):
    """A node that is lost costs at most the rows under way."""
    project = reset(prepared)
    with cluster(1, 1) as made:
        run = in_the_middle(project)
        made.remove_node(made.worker_nodes and list(made.worker_nodes)[0],
                         allow_graceful=False)
        rows = computed(ended(run))
    assert project.md5() == prepared[2]
    every, different = counted(project)
    print(f"{rows} rows, {every - different} computed twice")
    assert different == rows and every - rows <= under_way(rows, 2)


def test_lost_driver(prepared):
    """`dvc repro` goes on with the rows that are not sealed."""
    project = reset(prepared)
    with cluster(1, 1):
        run = in_the_middle(project)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        remove_incomplete(project)
        kept = finished(project)
        done = repro(project)
    assert done.returncode == 0, done.stdout
    assert project.md5() == prepared[2]
    every, different = counted(project)
    print(f"{kept} rows kept, {every - different} computed twice")
    assert computed(done.stdout) == different - kept
    assert every - different <= under_way(different, 2)
