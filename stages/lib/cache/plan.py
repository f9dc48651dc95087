#!/usr/bin/env python3
"""The plan of extract: reason, disk, memory and time; or a refusal."""
import glob
import os
import shutil

import psutil

from stages.lib.cache import lookup, probe
from stages.lib.common import errors, files, manifest, yaml_models
from stages.lib.params import params

SMALLER = ("lower resize.side, name fewer extract.views or extract.layers, "
           "choose a later backbone.cut, set extract.dtype to float16, or "
           "free disk space")
SHOWN = 20    # layers


def why(cache):
    """Return the reason why rows are computed, as text."""
    if not cache.count:
        return "no new images"
    if cache.before is None:
        return "first run"
    changed = [name for name in {**cache.before, **cache.key}
               if cache.key.get(name) != cache.before.get(name)]
    implied = {"layers", *(("weights",) if {"cut", "columns"} & {*changed}
                           else ()),
               *(("code", "openvino") if "engine" in changed else ())}
    named = [name for name in changed if name not in implied] or changed
    if named:
        return " and ".join("extract.layers" if name == "columns" else name
                            for name in named) + " changed"
    if cache.unfinished:
        return f"interrupted run, {cache.unfinished:,} rows of it are kept"
    views = [name.replace("views/", "").replace(manifest.EVALUATION, "")
             for name, rows in cache.new.items()
             if "/" in name and len(rows)]
    images = sum(len(rows) for name, rows in cache.new.items()
                 if "/" not in name)
    resized = _changed_resize() if images else []
    if resized:
        return f"{' and '.join(resized)} changed"
    return ", ".join([f"{images:,} new images"] * bool(images)
                     + [f"view {view}" for view in views])


def _changed_resize():
    """Return the parameters of resize that changed since the last run.

    They are not in the cache key, which knows the pixels themselves.  In
    dvc.lock, the later stage fuse still has the previous values.
    """
    if not os.path.exists("dvc.lock"):
        return []
    stages = (yaml_models.read("dvc.lock") or {}).get("stages", {})
    before = stages.get("fuse", {}).get("params", {}).get("params.yaml", {})
    now = params.read().resize.model_dump()
    return [f"resize.{name}" for name, value in now.items()
            if before.get(f"resize.{name}", value) != value]


def plan(cache, engine, read, model, cpus=None):
    """Print what `extract` is going to do.

    Args:
        cache: `lookup.Cache`.
        engine: `engine.Engine`, None if there are no new rows.
        read: function from row numbers to pixels, to measure the speed.
        model: `backbone.extractor`, for other engines.
        cpus: number of the cluster's processors, None without a cluster.

    Raises:
        PlanError: it does not fit on disk or into memory.
    """
    total = sum(map(len, cache.images.values()))
    new = cache.count
    print(f"extract: computes {new:,} of {total:,} rows: {why(cache)}")
    _columns(cache)
    need = cache.bytes_to_write()
    if need:
        _disk(cache, need)
    _memory(cache)
    if engine and new > engine.workers * engine.chunk:
        pixels = read(range(min(engine.chunk, len(cache.images["train"]))))
        rate = probe.rate(engine, pixels)
        rate *= (cpus or engine.workers) / engine.workers
        minutes, seconds = divmod(round(new / rate), 60)
        print(f"extract: about {minutes} min {seconds} s at {rate:,.0f} "
              f"images/s{f' on {cpus} CPUs of the cluster' * bool(cpus)}",
              flush=True)
        if new / rate > probe.LONG:
            print(probe.compared(cache.key["engine"], engine, model, pixels,
                                 total), end="", flush=True)


def _columns(cache):
    """Print the columns of each layer, if there are several layers."""
    found = cache.key.get("columns")
    if found:
        shown = ", ".join(f"{layer} {end - begin:,}"
                          for layer, begin, end in found[:SHOWN])
        print(f"extract: {found[-1][2]:,} columns of {len(found)} layers: "
              f"{shown}{', …' if len(found) > SHOWN else ''}")


def _disk(cache, need):
    """Print where `need` bytes are written; refuse what does not fit."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo    # half a second
    try:
        repo = Repo()
    except DvcException as error:
        raise errors.PlanError(f"{error}; run `git init` once") from error
    dvc, first = repo.cache.local.path, repo.config["cache"].get("type", [""])
    while not os.path.exists(dvc):
        dvc = os.path.dirname(dvc)
    needs = {"features": need}
    if os.stat(dvc).st_dev != os.stat("features").st_dev:
        needs["the cache of DVC"] = need    # on another disk
    elif first[0] not in ("hardlink", "symlink"):
        needs = {"features and their copy in the cache of DVC": 2 * need}
    for place, need in needs.items():
        free = (shutil.disk_usage(dvc).free if place == "the cache of DVC"
                else shutil.disk_usage("features").free + _freed(cache))
        print(f"extract: {place}: writes {files.readable(need)} "
              f"({cache.dtype}, {cache.shape} an image), "
              f"{files.readable(free)} are free", flush=True)
        files.check_disk_space(place, need, free, SMALLER)


def _freed(cache):
    """Return the bytes of other keys' scratch, which is removed first."""
    paths = glob.glob(f"{lookup.SCRATCH}/*/**/*.npy", recursive=True)
    stats = [os.stat(path) for path in paths
             if not path.startswith(cache.folder)]
    return sum(512 * file.st_blocks for file in stats if file.st_nlink == 1)


def _memory(cache):
    """Print the memory that training needs, and whether there is so much.

    By gradients, it holds vectors of all views in float32, or reads them from
    disk.  The other solvers read them in parts, and plan for themselves.
    """
    if params.read().train.solver != "gradient" or len(cache.shape) > 1:
        return    # maps stay on disk
    rows = sum(len(images) for name, images in cache.images.items()
               if name != "test" and not name.startswith(manifest.EVALUATION))
    need = 4 * cache.shape[0] * rows
    free = psutil.virtual_memory().available
    print(f"extract: training needs {files.readable(need)} of memory, "
          f"{files.readable(free)} are free" + (
              "" if need <= free else ": it will read the features from disk"))
