#!/usr/bin/env python3
"""Fill the arrays of the cache: copy known rows, compute new ones."""
import contextlib
import glob
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from stages.lib.cache import lookup, row_store
from stages.lib.common import errors, files, parallel

COPY = 1 << 26    # bytes copied at a time


def compute(cache, engine, bar, nodes=None):
    """Write all rows into the scratch; `bar` counts the computed ones.

    Args:
        cache: `lookup.Cache`.
        engine: `engine.Engine`, None if there are no new rows.
        nodes: `cluster.Cluster` that computes them instead, or None.

    Raises:
        StorageError: the disk is full, or the DVC that started this stage is
            gone; computed rows are kept.
        ArtefactError: a feature is not finite.
    """
    for folder in glob.glob(f"{lookup.SCRATCH}/*"):
        if folder != cache.folder:
            shutil.rmtree(folder)
    files.write_json(f"{cache.folder}/key.json", cache.key)
    parts = {name: _part(cache, name) for name in cache.images}
    _copy(parts.values(), cache.sources)
    if nodes:
        nodes.compute(parts, bar)
    elif engine:
        _compute(cache, parts, engine, bar)
    if any(len(part.missing()) for part in parts.values()):    # duplicates
        _copy(parts.values(), {
            image.tobytes(): (part, row) for part in parts.values()
            for row, image in enumerate(part.table["image"])
            if part.table["seal"][row].any()})


def publish(cache):
    """Publish the arrays under features/; return path -> SHA-256.

    Other arrays are removed from the scratch.
    """
    ours = [path for name in cache.images
            for path in row_store.paths(cache.folder, name)]
    for path in ours:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    files.check_dvc()
    with ThreadPoolExecutor(parallel.CORES) as pool:
        digests = pool.map(lambda path: files.digest(path, "sha256"), ours)
        public = {path: path.replace(cache.folder, "features")
                  for path in ours}
        sha256 = dict(zip(public.values(), digests))
    files.check_dvc()
    for path in ours:
        files.link(path, public[path])
    for path in glob.glob(f"{cache.folder}/**/*.npy", recursive=True):
        if path not in ours:
            os.unlink(path)
    return sha256


def _part(cache, name):
    """Return the array `name`, from the scratch if it fits.

    An array that does not fit is moved aside with its table, so that its
    rows can be copied, also after a kill.
    """
    x_path, table_path = row_store.paths(cache.folder, name)
    if cache.fits(name):
        part = row_store.GrowingRows(x_path, table_path)
        part.forget(~cache.good[x_path])
        return part
    if x_path in cache.good:
        aside = f"{cache.folder}/{lookup.PRIOR}/{uuid.uuid4().hex}"
        for path in (x_path, table_path):
            files.link(path, path.replace(cache.folder, aside))
    for path in (x_path, table_path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    images = cache.images[name]
    return row_store.GrowingRows.create(cache.folder, name, cache.dtype,
                                        (len(images), *cache.shape), images)


def _copy(parts, sources):
    """Copy all missing rows of `parts` whose image is in `sources`."""
    for part in parts:
        found = {}
        for row in part.missing():
            source = sources.get(part.table["image"][row].tobytes())
            if source:
                found.setdefault(source[0], []).append((row, source[1]))
        for array, pairs in found.items():
            step = max(1, COPY // array.x[0].nbytes)
            for k in range(0, len(pairs), step):
                to, source = np.array(pairs[k:k + step]).T
                part.write(to, array.x[source], array.table["seal"][source])


def _compute(cache, parts, engine, bar):
    """Compute the rows of `cache.new`."""
    def work(name, rows):
        """Compute and write some rows; return their number."""
        features = stored(engine.compute(cache.read[name](rows)),
                          cache.dtype)
        parts[name].write(rows, features)
        return len(rows)

    tasks = [(name, new[k:k + engine.chunk])
             for name, new in cache.new.items()
             for k in range(0, len(new), engine.chunk)]
    with ThreadPoolExecutor(engine.workers) as pool:
        running = [pool.submit(work, *task) for task in tasks]
        try:
            for done in as_completed(running):
                files.check_dvc()
                bar.update(done.result())
        finally:
            pool.shutdown(cancel_futures=True)


def stored(features, dtype):
    """Return `features` in the dtype of the cache.

    Raises:
        ArtefactError: a feature is not finite in that dtype.
    """
    with np.errstate(over="ignore"):
        features = features.astype(dtype)
    if not np.isfinite(features).all():
        raise errors.ArtefactError(f"features: too large for {dtype}; check "
                                   "backbone.weights, or set extract.dtype to "
                                   "float32")
    return features
