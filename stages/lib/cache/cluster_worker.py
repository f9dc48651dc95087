#!/usr/bin/env python3
"""What runs on the nodes of a Ray cluster: compute the rows of some ids.

A node needs Ray and the libraries of `make setup`.  This package, the
converted graph and, where the node does not see data/resized, the pixels come
from the machine that runs `extract`.
"""
import contextlib
import os
import pickle
import platform
import tempfile
from types import SimpleNamespace
from typing import Any, NamedTuple, Optional

import numpy as np

from stages.lib.cache import compute
from stages.lib.common import digests, errors
from stages.lib.engines import engine

LINUX = "/proc/cpuinfo"


class Job(NamedTuple):
    """What each node needs, sent once.

    Attributes:
        engine: name, as `engine.load` expects it; dtype: of the cache.
        graph: name -> bytes of the files of the converted graph.
        model: `backbone.extractor`, pickled; None if the graph is enough.
        read: array -> `views.Viewed`; names: of the arrays, by number.
        reader: handle of the actor `Reader`.
        facts: `facts` of the machine that runs `extract`.
        images: a few images, `features`: what they are there, float32.
        tolerance: greatest accepted difference, a share of the largest of
            these features; 0: the same bytes.
    """

    engine: str
    dtype: str
    graph: dict
    model: Optional[bytes]
    read: dict
    names: tuple
    reader: Any
    facts: dict
    images: np.ndarray
    features: np.ndarray
    tolerance: float


class Reader:
    """Read pixels on the machine of `extract`, for nodes that cannot."""

    def __init__(self, read):
        """Remember array -> `views.Viewed`."""
        self._read = read

    def read(self, name, rows):
        """Return the pixels of `rows` of the array `name`."""
        return self._read[name](rows)


class Worker:
    """An actor: one thread that computes rows."""

    def __init__(self, job):
        """Load the engine, compare it with that of `extract`.

        Args:
            job: Ray's reference to a `Job`.
        """
        import ray
        self._get, self._job = ray.get, ray.get(job)
        self._engine = _load(self._job)
        self._trouble, _ = compare(self._job, self._engine)

    def __call__(self, ids):
        """Return the features of some rows of one array.

        Args:
            ids: "array" and "row", both int64 (n,), ascending; "image",
                digests of their pixels, uint8 (n, 16).

        Returns:
            "array" and "row"; "features", their bytes, uint8 (n, k); "sent",
            whether the pixels came through Ray; "error", empty or what is
            wrong, then all rows are without meaning.
        """
        count, features, sent = len(ids["row"]), [], []
        error = self._trouble
        try:
            for k in range(0, 0 if error else count, self._engine.chunk):
                part = slice(k, k + self._engine.chunk)
                pixels, came = self._pixels(
                    self._job.names[ids["array"][0]], ids["row"][part],
                    ids["image"][part])
                features.append(compute.stored(self._engine.compute(pixels),
                                               self._job.dtype))
                sent += [came] * len(pixels)
        except errors.PipelineError as found:
            error = str(found)
        if error:
            features, sent = [np.zeros((count, 1), np.uint8)], [False] * count
        found = np.concatenate(features)
        return {"array": ids["array"], "row": ids["row"],
                "features": found.reshape(count, -1).view(np.uint8),
                "sent": np.array(sent), "error": np.array([error] * count)}

    def _pixels(self, name, rows, images):
        """Return the pixels of `rows`, and whether they came through Ray.

        The file is the right one if its pixels have the right digests.

        Raises:
            ArtefactError: it changed on the machine of `extract`, too.
        """
        with contextlib.suppress(errors.ArtefactError, IndexError):
            pixels = self._job.read[name](rows)
            if np.array_equal(digests.of_rows(pixels), images):
                return pixels, False
        pixels = np.ascontiguousarray(self._get(
            self._job.reader.read.remote(name, rows)))
        if not np.array_equal(digests.of_rows(pixels), images):
            raise errors.ArtefactError(
                f"{self._job.read[name].path}: changed while it was read; "
                "run `dvc repro` again")
        return pixels, True


def probe(job):
    """Return what `compare` finds on this node, or why it cannot compute."""
    try:
        return compare(job, _load(job))
    except Exception as error:    # whatever this node lacks
        return f"cannot compute: {type(error).__name__}: {error}", ""


def compare(job, loaded):
    """Return what makes this node unfit, and what is accepted; both as text.

    Args:
        job: `Job`.
        loaded: `engine.Engine`.
    """
    found = loaded.compute(job.images)
    largest = float(np.abs(job.features).max())
    difference = float(np.abs(found - job.features).max()) / (largest or 1)
    here = facts(job.engine)
    unlike = [f"{name} {here.get(name, 'missing')} instead of {wanted}"
              for name, wanted in job.facts.items()
              if here.get(name) != wanted]
    if found.tobytes() == job.features.tobytes() and not [
            one for one in unlike if not one.startswith("processor")]:
        return "", ""
    text = "; ".join([f"features differ by {difference:.1e} of the largest",
                      *unlike])
    return ("", text) if difference <= job.tolerance and job.tolerance else (
        text, "")


def facts(name):
    """Return what the bytes of features depend on, as name -> text.

    Args:
        name: of the engine.
    """
    key = engine.key(SimpleNamespace(engine=name, dtype=None))
    return {"processor": _processor(),
            **{one: value for one, value in key.items()
               if one not in ("dtype", "engine")}}


def _processor():
    """Return the name of this machine's processor."""
    with contextlib.suppress(OSError), open(LINUX, encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _load(job):
    """Return the `engine.Engine` of a job, of one thread."""
    with tempfile.TemporaryDirectory() as folder, _one_core():
        for name, data in job.graph.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        return engine.load(job.engine, job.model and pickle.loads(job.model),
                           folder)


@contextlib.contextmanager
def _one_core():
    """Let engines that count this process' cores find one in the block.

    Ray starts an actor for each core, and each needs one thread.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):    # it has ended
                os.sched_setaffinity(int(thread), before)
