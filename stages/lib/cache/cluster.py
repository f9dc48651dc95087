#!/usr/bin/env python3
"""Connect to the Ray cluster that RAY_ADDRESS names, compare its nodes.

Ray is imported only if the environment has that variable.  See docs/scale.md.
"""
import contextlib
import glob
import logging
import os
import pickle
import socket
import time

from stages.lib.cache import cluster_rows, cluster_worker
from stages.lib.common import errors, silence

ADDRESS = "RAY_ADDRESS"    # Ray's own variable
TOLERANCE = "EXTRACT_TOLERANCE"
INSTALL = "python -m pip install 'ray[data]==2.51.2'"    # the extra cluster
FREE = 30    # seconds to wait for a free processor
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
        ray, job: the module; its reference to the `cluster_worker.Job`.
        cache: `lookup.Cache`; chunk: of the engine.
    """

    def __init__(self, ray, cache, loaded, model):
        """Connect, compare all nodes with this machine."""
        self.ray, self.cache, self.chunk = ray, cache, loaded.chunk
        package = os.path.dirname(os.path.abspath(__file__))
        for _ in range(2):    # cache, lib
            package = os.path.dirname(package)
        try:
            _knock(os.environ[ADDRESS])
            with silence.errors_hidden():
                ray.init(runtime_env={"py_modules": [package],
                                      "excludes": ["__pycache__"]},
                         log_to_driver=False, logging_level="CRITICAL")
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.ClusterError(
                f"{ADDRESS}={os.environ[ADDRESS]}: no cluster to use "
                f"({str(error).splitlines()[0]}); start it with `ray start`, "
                f"or unset {ADDRESS}") from error
        self.cpus = self._free_cpus()
        self.job = ray.put(self._describe(loaded, model))
        self._compare()

    def _free_cpus(self):
        """Return the number of free processors, after some time to get one.

        The actors of a run that was killed need some seconds to end.

        Raises:
            ClusterError: there is none, and Ray would wait without a word.
        """
        end = time.monotonic() + FREE
        while True:
            total = int(self.ray.cluster_resources().get("CPU", 0))
            free = int(self.ray.available_resources().get("CPU", 0))
            if free and (free == total or time.monotonic() > end - FREE + 5):
                return free
            if not total or time.monotonic() > end:
                raise errors.ClusterError(
                    f"{ADDRESS}: the cluster has {total} CPUs, none is free; "
                    "add a node, or end what runs there (`ray status`)")
            time.sleep(0.5)

    def _describe(self, loaded, model):
        """Return the `cluster_worker.Job`."""
        cache, folder = self.cache, self.cache.folder
        graph = {}
        for path in glob.glob(f"{folder}/**", recursive=True):
            if os.path.isfile(path) and not path.endswith((".npy", ".json",
                                                           ".part")):
                with open(path, "rb") as file:
                    graph[os.path.relpath(path, folder)] = file.read()
        name = cache.key["engine"]
        array, rows = next((array, rows) for array, rows in cache.new.items()
                           if len(rows))
        images = cache.read[array](rows[:self.chunk])
        here = self.ray.get_runtime_context().get_node_id()
        reader = self.ray.remote(cluster_worker.Reader).options(
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
        strategies = self.ray.util.scheduling_strategies
        return strategies.NodeAffinitySchedulingStrategy(node, soft=False)

    def _compare(self):
        """Compare the features of a few images on every node.

        Raises:
            ClusterError: a node differs by more than the tolerance.
        """
        ray = self.ray
        probe = ray.remote(cluster_worker.probe)
        nodes = self.alive()
        asked = {name: probe.options(
            num_cpus=0, scheduling_strategy=self._on(name)).remote(self.job)
            for name in nodes}
        wrong = []
        for name, answer in asked.items():
            try:
                trouble, accepted = ray.get(answer)
            except ray.exceptions.RayError as error:
                if name not in self.alive():    # lost in the meantime
                    continue
                trouble, accepted = str(error).strip().splitlines()[-1], ""
            where = f"node {nodes[name]} ({name[:8]})"
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

    def alive(self):
        """Return the nodes that have processors, as id -> address."""
        return {one["NodeID"]: one["NodeManagerAddress"]
                for one in self.ray.nodes()
                if one["Alive"] and one["Resources"].get("CPU")}

    def compute(self, parts, bar):
        """Compute the rows of `cache.new` on the cluster, write them here.

        Args:
            parts: array -> `row_store.GrowingRows`.
            bar: counts the rows.

        Raises:
            PipelineError: as `compute.compute`.
        """
        try:
            cluster_rows.Run(self).write(parts, bar)
        finally:
            self.ray.shutdown()


def _knock(address):
    """Raise an OSError if nobody listens at host:port: Ray waits for minutes.

    Other addresses, such as "auto", are Ray's own.
    """
    if address == "auto":
        from ray._private import services
        address = services.canonicalize_bootstrap_address(address) or ""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), 5).close()


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
