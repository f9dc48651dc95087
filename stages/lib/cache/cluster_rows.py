#!/usr/bin/env python3
"""Let a Ray cluster compute missing rows; write them as they come.

Ray Data gets the ids of the missing rows, nodes compute them, and this
process alone writes rows, then their seals.  The seals are the checkpoint, so
order, duplicates and lost nodes do not matter.
"""
import contextlib
import queue
import threading
import time

import numpy as np

from stages.lib.cache import cluster_worker
from stages.lib.common import errors, files

TASKS = 16         # a processor: the last ones end at about the same time
ROWS = 1024        # the most in a task: some seconds of work
MANY = 20_000      # tasks, each a millisecond to make; more rows in each then
BYTES = 1 << 25    # the most features in a task
AHEAD = 2          # tasks an actor has: one runs, one waits
PATIENCE = 60      # seconds without a result until that is said
LOOK = 5           # seconds until the nodes are counted again
END = object()     # behind the last block


def tasks(cache, chunk, cpus):
    """Yield the ids of each task, as `cluster_worker.Worker` expects them.

    Args:
        cache: `lookup.Cache`.
        chunk: rows are a multiple of it, if there are enough.
        cpus: number of processors.
    """
    size = int(np.prod(cache.shape)) * cache.dtype.itemsize
    rows = min(-(-cache.count // (TASKS * cpus)),
               max(ROWS, cache.count // MANY), BYTES // size)
    step = max(1, -(-rows // chunk)) * chunk
    for number, name in enumerate(cache.images):
        for k in range(0, len(cache.new[name]), step):
            rows = cache.new[name][k:k + step]
            yield {"array": np.full(len(rows), number), "row": rows,
                   "image": cache.images[name][rows]}


class Run:
    """A run of Ray Data, in a thread; this one writes what comes."""

    def __init__(self, cluster):
        """Start nothing yet; `cluster`: `cluster.Cluster`."""
        self._cluster, self._cache = cluster, cluster.cache
        self._nodes, self._results = cluster.alive(), queue.Queue(AHEAD)

    def write(self, parts, bar):
        """Compute and write all rows of `cache.new`, count them.

        Args:
            parts: array -> `row_store.GrowingRows`.
            bar: counts the rows.

        Raises:
            PipelineError: as `compute.compute`.
        """
        threading.Thread(target=self._run, daemon=True).start()
        names, sent = list(parts), 0
        for block in self._arriving():
            if block["error"][0]:
                raise errors.ClusterError(str(block["error"][0]))
            self._write(parts[names[block["array"][0]]], block["row"],
                        block["features"], bar)
            sent += int(block["sent"].sum())
        left = sum(int((~parts[name].table["seal"][rows].any(axis=1)).sum())
                   for name, rows in self._cache.new.items())
        if left:
            raise errors.ClusterError(f"{left:,} rows did not come back; run "
                                      "`dvc repro` again for them")
        if sent:
            print(f"extract: the pixels of {sent:,} rows were sent to nodes "
                  "that do not see data/resized", flush=True)

    def _write(self, part, rows, features, bar):
        """Write rows that arrived, and count those that are new."""
        cache = self._cache
        features = np.ascontiguousarray(features).view(cache.dtype)
        new = int((~part.table["seal"][rows].any(axis=1)).sum())
        part.write(rows, features.reshape(len(rows), *cache.shape))
        bar.update(new)

    def _arriving(self):
        """Yield blocks from the queue; say what the cluster lacks."""
        last = looked = time.monotonic()
        while True:
            block, now = None, time.monotonic()
            with contextlib.suppress(queue.Empty):
                block = self._results.get(timeout=1)
                last = now
                if block is END:
                    return
                if isinstance(block, Exception):
                    raise block
                yield block
            files.check_dvc()
            if now > looked + LOOK:
                looked = now
                self._look()
            if now > last + PATIENCE:
                last = now
                print(f"extract: nothing came for {PATIENCE} s; the cluster "
                      f"has {len(self._nodes)} nodes with CPUs (`ray status`)",
                      flush=True)

    def _look(self):
        """Say which nodes are lost, and which are new."""
        alive = self._cluster.alive()
        for name in {*self._nodes} ^ {*alive}:
            print(f"extract: node {({**self._nodes, **alive})[name]} "
                  f"({name[:8]}) is " + (
                      "new" if name in alive else "lost: its rows are "
                      "computed elsewhere" if alive else
                      "lost, it was the last one: waiting for another; what "
                      "was computed is kept"), flush=True)
        self._nodes = alive

    def _run(self):
        """Put all blocks into the queue, then END, or an exception."""
        try:
            with contextlib.closing(self._computed()) as blocks:
                for block in blocks:
                    self._results.put(block)
            self._results.put(END)
        except Exception as error:    # for the thread that writes
            self._results.put(error)

    def _computed(self):
        """Yield computed blocks as they come."""
        from ray.data.block import BlockAccessor
        data, cluster = self._cluster.ray.data, self._cluster
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        blocks = data.from_blocks([
            BlockAccessor.batch_to_block(ids) for ids in tasks(
                self._cache, cluster.chunk, cluster.cpus)])
        yield from blocks.map_batches(
            cluster_worker.Worker, fn_constructor_args=(cluster.job,),
            batch_size=None, batch_format="numpy", zero_copy_batch=True,
            num_cpus=1, compute=data.ActorPoolStrategy(
                min_size=1, initial_size=cluster.cpus,
                max_tasks_in_flight_per_actor=AHEAD)).iter_batches(
                    batch_size=None, batch_format="numpy")
