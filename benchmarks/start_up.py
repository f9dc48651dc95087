#!/usr/bin/env python3
"""Processor time of `dvc repro` on tiny data, against an earlier revision.

Usage: benchmarks/start_up.py REVISION [ROUNDS]

All six stages run on the data of the tests, where starting programs is most
of the work.  Both revisions run in turn, on one thread, in clones of their
own under build/start_up.  Prints processor seconds, children included.
"""
import os
import resource
import shutil
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import conftest  # noqa: E402
import numpy as np  # noqa: E402

FOLDER = os.path.join(ROOT, "build", "start_up")


def at_revision(revision, path):
    """Return a `conftest.Project` of `revision` at `path`."""
    subprocess.run(["git", "clone", "--quiet", ROOT, path], check=True)
    subprocess.run(["git", "-c", "advice.detachedHead=false", "checkout",
                    "--quiet", revision], cwd=path, check=True)
    return conftest.Project(path)


def processor_seconds(project):
    """Return the processor seconds of `dvc repro --force` in `project`."""
    def used():
        """Return the seconds of all finished children."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begin = used()
    done = project.run("dvc repro --force")
    assert done.returncode == 0, done.stdout
    return used() - begin


def main(revision, rounds=5):
    """Measure `rounds` times each, print the medians and their ratio."""
    conftest.pytest_configure()    # one thread
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    np.savez(f"{FOLDER}/tiny.npz", **conftest.tiny_arrays())
    conftest.tiny_weights(f"{FOLDER}/tiny.h5")
    projects = {"now": conftest.clone(f"{FOLDER}/now"),
                revision: at_revision(revision, f"{FOLDER}/before")}
    seconds = {name: [] for name in projects}
    for project in projects.values():
        conftest.settle(project, FOLDER)
        processor_seconds(project)
    for _ in range(int(rounds)):
        for name, project in projects.items():
            seconds[name].append(processor_seconds(project))
    now, before = (statistics.median(seconds[name]) for name in projects)
    for name, found in seconds.items():
        print(f"{name}: " + " ".join(f"{one:.2f}" for one in sorted(found)))
    print(f"processor seconds: {now:.2f} now, {before:.2f} at {revision}, "
          f"ratio {now / before:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
