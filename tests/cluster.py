#!/usr/bin/env python3
"""`extract` on a Ray cluster of several nodes on this machine.

Not part of the suite: `python -m pytest -n 0 tests/cluster.py`, in an
environment with the extra cluster.  KILLS is the number of kills at random.
On the first real images and weights if they exist (tests/real_data.py).
"""
import contextlib
import glob
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import numpy as np
import pytest
import ray
import real_data
from conftest import (
    ROOT, clone, environment, settle, tiny_arrays, tiny_weights)
from kill_extract import (
    computed, finished, forget, processes, remove_incomplete, start)
from ray._private import services
from ray.cluster_utils import Cluster
from test_readme import cluster_commands

MARK = "CLUSTER_TEST"    # in the environment of all processes of a cluster
IMAGES, SIDE = 1500, 96
STORE = 128 << 20
SECONDS = 120
ADDRESSES = itertools.count(2)    # of nodes
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
    """
    with cleaned() as temporary:
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


@contextlib.contextmanager
def cleaned():
    """Yield a folder for Ray; end all processes that the block leaves."""
    mark, temporary = uuid.uuid4().hex, tempfile.mkdtemp(dir="/tmp")
    os.environ.update({
        MARK: mark, "RAY_TMPDIR": temporary,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_enable_metrics_collection": "0"})
    os.makedirs(f"{temporary}/ray")    # Ray writes its address there
    try:
        yield temporary
    finally:
        del os.environ[MARK], os.environ["RAY_TMPDIR"]
        for _ in range(50):
            if not marked(mark):
                break
            time.sleep(0.1)
        for process in marked(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(temporary, ignore_errors=True)


def add(made, cpus=1, **options):
    """Add a node with `cpus` processors to a cluster; return it.

    It has an address of its own, and drivers know that of the head: or they
    connect to any of the nodes.
    """
    node = made.add_node(
        num_cpus=cpus, object_store_memory=STORE,
        node_ip_address=f"127.0.0.{next(ADDRESSES)}", **options)
    known(made)
    return node


def known(made):
    """Tell drivers on this machine the address of the head."""
    services.write_node_ip_address(made.head_node.get_session_dir_path(),
                                   made.head_node.node_ip_address)


def lose(made, node):
    """Kill all processes of a node at once, as if its machine were lost."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii",
                                                errors="replace") as file:
            text = file.read()
            if int(text.rpartition(")")[2].split()[1]) == raylet:
                children.append(int(text.split()[0]))
    made.remove_node(node, allow_graceful=False)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


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
    print(re.findall("^extract: .*$", done.stdout, re.M)[-1])
    return re.search("^extract: (.*)$", done.stdout.replace(
        "extract: converting", ""), re.M)[1]


def under_way(rows, cpus, driver=False):
    """Return the most rows that a kill may cost: the tasks of all workers,
    and, of a driver, results that it had not written: two wait, one is on its
    way, one is being written.
    """
    task = -(-rows // (16 * cpus))
    return (2 * cpus + 4 * driver) * (-(-task // 16) * 16)


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


def test_readme(prepared):
    """The README's commands make a cluster of two nodes, and use it.

    `ray stop` would end all of Ray on this machine.
    """
    project = reset(prepared)
    _, head, node, run, stop = cluster_commands()
    assert stop == "ray stop"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with cleaned():
        for command in (head, node.replace(
                "192.168.0.1", ray.util.get_node_ip_address())):
            done = project.run(
                f"{command.replace('6379', port)} --num-cpus=1 "
                f"--object-store-memory={STORE}", timeout=SECONDS)
            assert done.returncode == 0, done.stdout
        done = project.run(f"{run} extract", timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    assert "on 2 CPUs of the cluster" in done.stdout
    assert project.md5() == prepared[2]


def test_nothing_of_ray_is_imported():
    """Without RAY_ADDRESS, `extract` does not import Ray."""
    subprocess.run([sys.executable, "-c", "import sys\nfrom stages import "
                    "extract\nassert 'ray' not in sys.modules"], cwd=ROOT,
                   check=True)


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
        lose(made, list(made.worker_nodes)[0])
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
    assert every - different <= under_way(different, 2, driver=True)


def test_lost_last_node(prepared):
    """Without any node the run waits, says so, and goes on with a new one."""
    project = reset(prepared)
    with cluster(1) as made:
        run = in_the_middle(project)
        lose(made, list(made.worker_nodes)[0])
        time.sleep(25)    # until Ray notices
        assert run.poll() is None, run.communicate()[0]
        add(made)
        text = ended(run)
    assert re.search(r"node \S+ \(\w+\) is lost, it was the last one", text)
    assert re.search(r"node \S+ \(\w+\) is new", text)
    assert project.md5() == prepared[2]


def test_killed_at_random(prepared):
    """Nodes and drivers in turn, KILLS times, each at a random moment."""
    with cluster(1, 1) as made:
        for number in range(int(os.environ.get("KILLS", "4"))):
            project, victim = reset(prepared), ("node", "driver")[number % 2]
            begin = time.monotonic()
            if number % 8 < 6:    # else at any time, start-up included
                run, pause = in_the_middle(project), random.uniform(0, 2)
            else:
                run = start(project, "extract", "extract")
                pause = random.uniform(0, 16)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(pause)
            killed = run.poll() is None
            after = time.monotonic() - begin
            if killed and victim == "node":
                lose(made, random.choice(list(made.worker_nodes)))
                add(made)
            elif killed:
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()
                if "dvc.lock" in remove_incomplete(project):
                    with open(project.file("dvc.lock"), "w",
                              encoding="utf-8") as file:
                        file.write(prepared[1])
            kept = finished(project)
            text = ended(run) if victim == "node" else repro(project).stdout
            assert project.md5() == prepared[2], text
            every, different = counted(project)
            print(json.dumps({
                "victim": victim if killed else "none", "after": round(
                    after, 1), "kept": kept, "rows": different,
                "twice": every - different,
                "seconds": round(time.monotonic() - begin)}), flush=True)
            assert every - different <= under_way(
                different, 2, victim == "driver"), text


def other_numpy(folder):
    """Return a Python that has another NumPy, and this one's packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = os.path.join(folder, "bin", "python")
    packages, = glob.glob(f"{folder}/lib/*/site-packages")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps",
                    "numpy==1.26.4"], check=True)
    with open(f"{packages}/others.pth", "w", encoding="utf-8") as file:
        file.write(os.path.dirname(os.path.dirname(np.__file__)) + "\n")
    return python


def test_unequal_versions(prepared, tmp_path):
    """A node with another NumPy is refused by name, or accepted."""
    project = reset(prepared)
    python = other_numpy(tmp_path / "other")
    with cluster(1) as made:
        subprocess.run(
            [python, "-m", "ray.scripts.scripts", "start", "--num-cpus", "1",
             f"--address={made.address}", "--node-ip-address=127.0.0.99",
             "--object-store-memory", str(STORE)], check=True,
            stdout=subprocess.DEVNULL)
        known(made)
        line = refused(project)
        assert re.match(
            r"nodes unlike this machine: node 127.0.0.99 \(\w{8}\): features "
            r"differ by \S+ of the largest; numpy 1.26.4 instead of 1.25.2\. "
            "Set up all nodes alike", line), line
        line = refused(project, EXTRACT_TOLERANCE="some")
        assert line.startswith("EXTRACT_TOLERANCE=some: write a number")
        done = repro(project, EXTRACT_TOLERANCE="1e-5")
    assert done.returncode == 0, done.stdout
    assert "accepted by EXTRACT_TOLERANCE: features differ by" in done.stdout
    assert project.md5() == prepared[2]    # this NumPy computes the same


def test_unequal_processors(prepared):
    """A node whose processor gives other bytes is refused by name.

    oneDNN, below TensorFlow, computes there as on an older processor.
    """
    project = reset(prepared)
    project.set(extract__engine="tensorflow")
    try:
        with cluster(1) as made:
            done = repro(project)
            assert done.returncode == 0, done.stdout
            got = project.md5()
            reset(prepared)
            add(made, env_vars={"ONEDNN_MAX_CPU_ISA": "SSE41"})
            line = refused(project)
            assert re.match(r"nodes unlike this machine: node 127\S+ "
                            r"\(\w{8}\): features differ by \d\.\de-0[5-9] "
                            r"of the largest\. Set up all", line), line
            done = repro(project, EXTRACT_TOLERANCE="1e-4")
            assert done.returncode == 0, done.stdout
        reset(prepared)
        done = repro(project)    # on this machine
        assert project.md5() == got, done.stdout
    finally:
        project.set(extract__engine="tflite")


def test_no_cpu(prepared):
    """Without a free processor the run ends before it hangs."""
    project = reset(prepared)
    with cluster() as made:
        assert re.match("RAY_ADDRESS: the cluster has 0 CPUs, none is free; "
                        "add a node", refused(project))
        add(made)
        busy = subprocess.Popen([sys.executable, "-c", (
            "import ray, time; ray.init(); "
            "ray.get(ray.remote(lambda: time.sleep(1000)).remote())")])
        time.sleep(10)
        line = refused(project)
        busy.kill()
        busy.wait()
    assert line.startswith("RAY_ADDRESS: the cluster has 1 CPUs, none")
    line = refused(project, RAY_ADDRESS="127.0.0.1:1")
    assert line.startswith("RAY_ADDRESS=127.0.0.1:1: no cluster to use (")


@pytest.mark.skipif(subprocess.run(
    ["unshare", "--mount", "true"], check=False).returncode != 0,
    reason="needs the right to mount")
def test_no_shared_path(prepared, tmp_path):
    """A node that does not see the images gets their pixels through Ray."""
    project = reset(prepared)
    hidden = project.file("data/resized")
    with cluster(1) as made:
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             f"mount -t tmpfs none {hidden} && exec {sys.executable} -m "
             "ray.scripts.scripts start --num-cpus 1 --address="
             f"{made.address} --node-ip-address=127.0.0.98 "
             f"--object-store-memory {STORE}"], check=True,
            stdout=subprocess.DEVNULL)
        known(made)
        done = repro(project)
    assert done.returncode == 0, done.stdout
    sent = re.search(r"the pixels of ([\d,]+) rows were sent", done.stdout)
    rows = int(sent[1].replace(",", ""))
    assert 0 < rows < computed(done.stdout)
    assert project.md5() == prepared[2]
