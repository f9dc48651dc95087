#!/usr/bin/env python3
"""What `extract` does for each row besides computing: seconds and bytes.

Usage: benchmarks/bookkeeping.py [ROWS [NUMBERS]]

Simulates a run of ROWS (1,000,000) new images without pixels and without a
cluster: digests at random, NUMBERS (4) float32 features a row.  Prints, for
each part, seconds a million rows, and bytes a row of memory and of disk.  It
works in a temporary folder, in which it needs 32 + 4 * NUMBERS bytes a row.
"""
import contextlib
import os
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from stages.lib.cache import cluster_rows, lookup, row_store  # noqa: E402
from stages.lib.common import digests  # noqa: E402

CPUS = 1000    # of the simulated cluster
CHUNK = 16
RESUME = 400    # bytes of memory a row, at most half of what is free


class Peak(threading.Thread):
    """Watches the most anonymous memory of this process."""

    def __init__(self):
        """Start at what is used now."""
        super().__init__(daemon=True)
        self.first = self.most = used()
        self.ended = False

    def run(self):
        """Look 50 times a second."""
        while not self.ended:
            self.most = max(self.most, used())
            time.sleep(0.02)


def used():
    """Return the bytes of anonymous memory of this process."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


@contextlib.contextmanager
def measured(what, rows):
    """Print what the block costs."""
    peak, begin = Peak(), time.perf_counter()
    peak.start()
    yield
    seconds = time.perf_counter() - begin
    peak.ended = True
    print(f"| {what} | {1e6 * seconds / rows:.2f} | "
          f"{(peak.most - peak.first) / rows:.0f} |", flush=True)


def resume(cache, part, rows):
    """Do what a run does that finds all rows in the scratch."""
    with measured("check all seals of an earlier run", rows):
        assert part.check()[0].all()
    with measured("remember its rows, to copy or keep them", rows):
        cache.sources = {image.tobytes(): (part, row)
                         for row, image in enumerate(part.table["image"])}
    with measured("find that nothing is new", rows):
        assert not sum(map(len, cache._unknown().values()))


def main(rows=1_000_000, numbers=4):
    """Simulate a first run and one that resumes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 1 << 64, (rows, 2), np.uint64).view(np.uint8)
    of_all = digests.of_all
    digests.of_all = lambda read, count: images    # instead of pixels
    print(f"{rows:,} rows, {numbers} features, {CPUS:,} CPUs\n\n| part | "
          "seconds a million rows | bytes of memory a row |\n|---|---|---|")
    with measured("find the new rows", rows), open(os.devnull, "w") as sink, \
            contextlib.redirect_stdout(sink):    # no dvc.yaml
        cache = lookup.Cache({"engine": "none"}, {"train": (None, rows)},
                             (numbers,), "float32")
    assert cache.count == rows
    with measured("make the tasks", rows):
        count = sum(1 for _ in cluster_rows.tasks(cache, CHUNK, CPUS))
    with measured("allocate array and table", rows):
        part = row_store.GrowingRows.create(
            cache.folder, "train", "float32", (rows, numbers), images)
    features = random.normal(size=(rows // count + CHUNK,
                                   numbers)).astype("float32")
    with measured("write rows and seals, once", rows):
        for ids in cluster_rows.tasks(cache, CHUNK, CPUS):
            part.write(ids["row"], features[:len(ids["row"])])
    assert not len(part.missing())
    digests.of_all = of_all
    if psutil.virtual_memory().available > 2 * RESUME * rows:
        resume(cache, part, rows)
    else:
        print(f"A run that resumes needs {RESUME} bytes of memory a row: left "
              "out")
    print(f"\n{count:,} tasks; on disk {row_store.TABLE.itemsize} bytes a row "
          "for the table, and the features")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        os.chdir(folder)
        main(*map(int, sys.argv[1:]))
        os.chdir(ROOT)
