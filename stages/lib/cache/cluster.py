#!/usr/bin/env python3
"""Compute rows on a Ray cluster, if the environment has RAY_ADDRESS.

Ray Data gets the ids of the missing rows, nodes compute them, and this
process alone writes rows, then their seals.  The seals are the checkpoint, so
order, duplicates and lost nodes do not matter.  See docs/scale.md.
"""
import contextlib
import glob
import logging
import os
import pickle
import queue
import threading
import time

import numpy as np

from stages.lib.cache import cluster_worker
from stages.lib.common import errors, files, silence

ADDRESS = "RAY_ADDRESS"    # Ray's own variable
TOLERANCE = "EXTRACT_TOLERANCE"
INSTALL = "python -m pip install 'ray[data]==2.51.2'"    # the extra cluster
TASKS = 16         # a processor: the last ones end at about the same time
ROWS = 1024        # the most in a task: some seconds of work
MANY = 20_000      # tasks, each a millisecond to make; more rows in each then
BYTES = 1 << 25    # the most features in a task
AHEAD = 2          # tasks an actor has: one runs, one waits
PATIENCE = 60      # seconds without a result until that is said
LOOK = 5           # seconds until the nodes are counted again
END = object()     # behind the last block
FREE = 30          # seconds to wait for a free processor
LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"    # of what Ray prints from C++


def connect(cache, loaded, model):
    """Return the `Cluster` that RAY_ADDRESS names, checked; None without it.

    Args:
        cache: `lookup.Cache`.
        loaded: `engine.Engine` of this machine.
        model: `backbone.extractor`.

    Raises:
        ClusterError: Ray is not installed, there is no such cluster, it has
            no free processor, or a node computes other bytes.
    """
    if not os.environ.get(ADDRESS):
        return None
    os.environ.setdefault(LOG_LEVEL, "fatal")
    try:
        import ray
        import ray.data    # needs more packages
    except ImportError as error:
        raise errors.ClusterError(
            f"{ADDRESS} is set, but {error.name} is not installed; install "
            f"the extra cluster on every node: {INSTALL}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return Cluster(ray, cache, loaded, model)


class Cluster:
    """A Ray cluster that computes the rows of a cache.

    Attributes:
        cpus: number of processors that were free at the start.
    """

    def __init__(self, ray, cache, loaded, model):
        """Connect, compare all nodes with this machine."""
        self._ray, self._cache, self._chunk = ray, cache, loaded.chunk
        package = os.path.dirname(os.path.abspath(__file__))
        for _ in range(2):    # cache, lib
            package = os.path.dirname(package)
        try:
            with silence.errors_hidden():
                ray.init(runtime_env={"py_modules": [package],
                                      "excludes": ["__pycache__"]},
                         log_to_driver=False, logging_level="CRITICAL")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise errors.ClusterError(
                f"{ADDRESS}={os.environ[ADDRESS]}: no cluster to use "
                f"({str(error).splitlines()[0]}); start it with `ray start`, "
                f"or unset {ADDRESS}") from error
        self.cpus = self._free_cpus()
        self._job = ray.put(self._describe(loaded, model))
        self._compare()

    def _free_cpus(self):
        """Return the number of free processors, after some time to get one.

        The actors of a run that was killed need some seconds to end.

        Raises:
            ClusterError: there is none, and Ray would wait without a word.
        """
        end = time.monotonic() + FREE
        while True:
            total = int(self._ray.cluster_resources().get("CPU", 0))
            free = int(self._ray.available_resources().get("CPU", 0))
            if free and (free == total or time.monotonic() > end - FREE + 5):
                return free
            if not total or time.monotonic() > end:
                raise errors.ClusterError(
                    f"{ADDRESS}: the cluster has {total} CPUs, none is free; "
                    "add a node, or end what runs there (`ray status`)")
            time.sleep(0.5)

    def _describe(self, loaded, model):
        """Return the `cluster_worker.Job`."""
        cache, folder = self._cache, self._cache.folder
        graph = {}
        for path in glob.glob(f"{folder}/**", recursive=True):
            if os.path.isfile(path) and not path.endswith((".npy", ".json",
                                                           ".part")):
                with open(path, "rb") as file:
                    graph[os.path.relpath(path, folder)] = file.read()
        name = cache.key["engine"]
        array, rows = next((array, rows) for array, rows in cache.new.items()
                           if len(rows))
        images = cache.read[array](rows[:self._chunk])
        here = self._ray.get_runtime_context().get_node_id()
        reader = self._ray.remote(cluster_worker.Reader).options(
            num_cpus=0, max_concurrency=4, max_restarts=-1,
            max_task_retries=-1, scheduling_strategy=self._on(here))
        return cluster_worker.Job(
            engine=name, dtype=str(cache.dtype), graph=graph,
            model=None if name == "tflite" else pickle.dumps(model),
            read=cache.read, names=tuple(cache.read),
            reader=reader.remote(cache.read),
            facts=cluster_worker.facts(name), images=images,
            features=loaded.compute(images), tolerance=_tolerance())

    def _on(self, node):
        """Return what makes Ray use the node with this id."""
        return self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node, soft=False)

    def _compare(self):
        """Compare the features of a few images on every node.

        Raises:
            ClusterError: a node differs by more than the tolerance.
        """
        ray = self._ray
        probe = ray.remote(cluster_worker.probe)
        self._nodes = self._alive()
        asked = {name: probe.options(
            num_cpus=0, scheduling_strategy=self._on(name)).remote(self._job)
            for name in self._nodes}
        wrong = []
        for name, answer in asked.items():
            try:
                trouble, accepted = ray.get(answer)
            except ray.exceptions.RayError as error:
                if name not in self._alive():    # lost in the meantime
                    continue
                trouble, accepted = str(error).strip().splitlines()[-1], ""
            where = f"node {self._nodes[name]} ({name[:8]})"
            if accepted:
                print(f"extract: {where}: accepted by {TOLERANCE}: "
                      f"{accepted}", flush=True)
            if trouble:
                wrong.append(f"{where}: {trouble}")
        if wrong:
            raise errors.ClusterError(
                f"nodes unlike this machine: {'. '.join(wrong)}. Set up all "
                "nodes alike, on one kind of processor; or accept rounding: "
                f"{TOLERANCE}=1e-5, a share of the largest feature")

    def _alive(self):
        """Return the nodes that have processors, as id -> address."""
        return {one["NodeID"]: one["NodeManagerAddress"]
                for one in self._ray.nodes()
                if one["Alive"] and one["Resources"].get("CPU")}

    def compute(self, parts, bar):
        """Compute the rows of `cache.new` on the cluster, write them here.

        Args:
            parts: array -> `row_store.GrowingRows`.
            bar: counts the rows.

        Raises:
            PipelineError: as `compute.compute`.
        """
        results = queue.Queue(AHEAD)
        threading.Thread(target=self._run, args=(results,),
                         daemon=True).start()
        names, sent = list(parts), 0
        try:
            for block in self._arriving(results):
                if block["error"][0]:
                    raise errors.ClusterError(str(block["error"][0]))
                part = parts[names[block["array"][0]]]
                self._write(part, block["row"], block["features"], bar)
                sent += int(block["sent"].sum())
        finally:
            self._ray.shutdown()
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

    def _arriving(self, results):
        """Yield blocks from the queue; say what the cluster lacks."""
        last = looked = time.monotonic()
        while True:
            block, now = None, time.monotonic()
            with contextlib.suppress(queue.Empty):
                block = results.get(timeout=1)
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
        alive = self._alive()
        for name in {*self._nodes} ^ {*alive}:
            print(f"extract: node {({**self._nodes, **alive})[name]} "
                  f"({name[:8]}) is " + (
                      "new" if name in alive else "lost: its rows are "
                      "computed elsewhere" if alive else
                      "lost, it was the last one: waiting for another; what "
                      "was computed is kept"), flush=True)
        self._nodes = alive

    def _run(self, results):
        """Put all blocks into the queue, then END, or an exception."""
        try:
            with contextlib.closing(self._dataset()) as blocks:
                for block in blocks:
                    results.put(block)
            results.put(END)
        except Exception as error:    # for the thread that writes
            results.put(error)

    def _dataset(self):
        """Yield computed blocks as they come."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        computed = data.from_blocks(list(self._ids())).map_batches(
            cluster_worker.Worker, fn_constructor_args=(self._job,),
            batch_size=None, batch_format="numpy", zero_copy_batch=True,
            num_cpus=1, compute=data.ActorPoolStrategy(
                min_size=1, initial_size=self.cpus,
                max_tasks_in_flight_per_actor=AHEAD))
        yield from computed.iter_batches(batch_size=None,
                                         batch_format="numpy")

    def _ids(self):
        """Yield a block of ids for each task."""
        from ray.data.block import BlockAccessor
        cache = self._cache
        step = self._rows()
        for number, name in enumerate(cache.images):
            for k in range(0, len(cache.new[name]), step):
                rows = cache.new[name][k:k + step]
                yield BlockAccessor.batch_to_block({
                    "array": np.full(len(rows), number), "row": rows,
                    "image": cache.images[name][rows]})

    def _rows(self):
        """Return the number of rows a task, a multiple of the chunk."""
        cache, chunk = self._cache, self._chunk
        size = int(np.prod(cache.shape)) * cache.dtype.itemsize
        rows = min(-(-cache.count // (TASKS * self.cpus)),
                   max(ROWS, cache.count // MANY), BYTES // size)
        return max(1, -(-rows // chunk)) * chunk


def _tolerance():
    """Return the accepted difference between nodes, 0 by default.

    Raises:
        ClusterError: it is not a number of at least 0.
    """
    text = os.environ.get(TOLERANCE) or "0"
    with contextlib.suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    raise errors.ClusterError(f"{TOLERANCE}={text}: write a number such as "
                              "1e-5, a share of the largest feature")
