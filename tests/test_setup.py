#!/usr/bin/env python3
"""Error messages if Python or the real data are missing."""


def test_no_python(finished):
    """A machine without Python 3.9 to 3.11 gets one clear line."""
    done = finished.run("make setup PYTHON=nonsense --no-print-directory")
    assert done.returncode != 0
    assert done.stdout.splitlines()[0] == (
        "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11, found none "
        "(nonsense); install one, or name it: "
        "make setup PYTHON=/path/to/python3.9")


def test_no_real_data(finished):
    """The check on real data is skipped, or fails if it is required."""
    done = finished.run("REAL_DATA= python tests/real_data.py")
    assert done.returncode == 0 and "SKIPPED" in done.stdout
    done = finished.run("REAL_DATA=required python tests/real_data.py")
    assert done.returncode != 0 and "missing" in done.stdout
    done = finished.run("python benchmarks/run.py")
    assert done.returncode != 0
    assert done.stdout.strip() == "benchmarks: ../shared/data is missing"
