#!/usr/bin/env python3
"""The cache of features: what is known is taken over, the rest computed.

A row is known by the pixels that the backbone sees and by the key of what
computed it.  Rows are looked for where the last run was writing, so that a
killed run goes on, and in the version that DVC's cache holds, so that added,
removed, renamed or reordered images cost only what is new.  Why so:
docs/cache.md.
"""
import glob
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from stages.lib import committed, files
from stages.lib.errors import ArtefactError
from stages.lib.rows import Part, Rows, digests_of, paths

SCRATCH = "features/scratch"
PRIOR = "prior"    # beside the rows: those of another order, to be copied
CHUNK = 16     # rows a task: all that a kill costs, once a core
COPY = 1024    # rows copied at a time


class Cache:
    """The rows that are wanted, and where those that are known are."""

    def __init__(self, key, images, shape, dtype):
        """Look at everything, change nothing.

        Args:
            key: `backbone.key`: what the bytes of a row depend on, but the
                image.
            images: name of the array -> a function from row numbers to
                pixels, uint8, C-contiguous; and the number of rows.
            shape: of a row, `dtype`: of a feature.
        """
        self.key, self.shape, self.dtype = key, tuple(shape), np.dtype(dtype)
        self.images = {name: digests_of(*of) for name, of in images.items()}
        self.folder = f"{SCRATCH}/{_short(key)}"
        self.before = None    # the key of the last run
        self._read = {name: read for name, (read, _) in images.items()}
        self._sources = {}    # image -> array, row
        self._good = {}       # path in the scratch -> which rows are good
        self._parts = {}
        self._look(key if os.path.exists(self._key_path) else None,
                   self._scratch())
        self._look(*committed.load(committed.outs()))
        known = set(self._sources)
        self.new = {}         # array -> rows to compute, each image once
        for name, of_images in self.images.items():
            row = {image.tobytes(): k for k, image
                   in reversed(list(enumerate(of_images)))}
            self.new[name] = np.sort([k for image, k in row.items()
                                      if image not in known]).astype(int)
            known |= set(row)

    @property
    def _key_path(self):
        """Return the path of the key, which makes the folder ours."""
        return f"{self.folder}/key.json"

    @property
    def unfinished(self):
        """Return how many rows lie in the scratch of an interrupted run."""
        return sum(int(good.sum()) for good in self._good.values()
                   if not good.all())

    def bytes_to_write(self):
        """Return the bytes of all arrays that are not there yet."""
        row = int(np.prod(self.shape)) * self.dtype.itemsize
        return sum(len(images) * row for name, images in self.images.items()
                   if not self._fits(name))

    def fill(self, compute, workers, bar):
        """Bring every row into the scratch; `bar` hears of computed ones.

        Raises:
            StorageError: the disk is full; what is computed stays.
            ArtefactError: a feature is not finite.
            OSError: the DVC that started this stage is gone.
        """
        for folder in glob.glob(f"{SCRATCH}/*"):
            if folder != self.folder:
                shutil.rmtree(folder)
        files.write_json(self._key_path, self.key)
        self._parts = {name: self._part(name) for name in self.images}
        self._copy(self._sources)
        self._compute(compute, workers, bar)
        if any(len(part.missing()) for part in self._parts.values()):
            self._copy({image.tobytes(): (part, row)
                        for part in self._parts.values()
                        for row, image in enumerate(part.table["image"])
                        if part.table["seal"][row].any()})

    def publish(self):
        """Let the arrays appear under features/; return path -> SHA-256."""
        sha256 = {}
        for name in self._parts:
            for path in paths(self.folder, name):
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                public = path.replace(self.folder, "features")
                sha256[public] = files.digest(path, "sha256")
                files.link(path, public)
        for path in glob.glob(f"{self.folder}/**/*.npy", recursive=True):
            if path.replace(self.folder, "features") not in sha256:
                os.unlink(path)
        return sha256

    def _scratch(self):
        """Return the arrays of the scratch, those that stepped aside last."""
        found = []
        tables = glob.glob(f"{self.folder}/**/*_rows.npy", recursive=True)
        for table in sorted(tables, key=lambda path: (PRIOR in path, path)):
            try:
                found.append(Rows(table.replace("_rows.npy", "_x.npy"), table))
            except ArtefactError as error:
                print(f"extract: not taken over: {error}")
        return found

    def _look(self, key, arrays):
        """Note which rows of `arrays`, computed under `key`, are good."""
        self.before = self.before or key
        if key != self.key:
            return
        for array in arrays:
            if array.x.shape[1:] != self.shape or array.x.dtype != self.dtype:
                continue
            good, damaged = array.check()
            if damaged.any():
                some = ", ".join(map(str, np.flatnonzero(damaged)[:5]))
                print(f"extract: {array.path}: {damaged.sum()} damaged rows "
                      f"({some}{', …' if damaged.sum() > 5 else ''}) are not "
                      "taken over")
            self._good[array.path] = good
            for row in np.flatnonzero(good):
                self._sources.setdefault(array.table["image"][row].tobytes(),
                                         (array, row))

    def _fits(self, name):
        """Tell whether the scratch has `name` with these images in order."""
        x_path, table_path = paths(self.folder, name)
        if x_path not in self._good:
            return False
        same = np.array_equal(np.load(table_path)["image"],
                              self.images[name])
        return same and (self._good[x_path].all()
                         or os.stat(x_path).st_nlink == 1)

    def _part(self, name):
        """Return the array `name`, from the scratch if it fits.

        One that does not, or is shared with DVC's cache and has to change,
        steps aside.
        """
        x_path, table_path = paths(self.folder, name)
        if self._fits(name):
            part = Part(x_path, table_path)
            part.forget(~self._good[x_path])
            return part
        for path in (x_path, table_path):
            if os.path.exists(path):
                aside = path.replace(self.folder, f"{self.folder}/{PRIOR}")
                os.makedirs(os.path.dirname(aside), exist_ok=True)
                os.replace(path, aside)
        images = self.images[name]
        return Part.create(self.folder, name, self.dtype,
                           (len(images), *self.shape), images)

    def _copy(self, sources):
        """Write all missing rows whose image is in `sources`."""
        for part in self._parts.values():
            found = {}
            for row in part.missing():
                source = sources.get(part.table["image"][row].tobytes())
                if source:
                    found.setdefault(source[0], []).append((row, source[1]))
            for array, pairs in found.items():
                for k in range(0, len(pairs), COPY):
                    to, of = np.array(pairs[k:k + COPY]).T
                    part.write(to, array.x[of], array.table["seal"][of])

    def _compute(self, compute, workers, bar):
        """Write the rows of `new`, by `workers` threads."""
        def work(name, chunk):
            """Compute some rows and write them."""
            images = self._read[name](chunk)
            self._parts[name].write(chunk, self.stored(compute(images)))
            return len(chunk)

        tasks = [(name, new[k:k + CHUNK]) for name, new in self.new.items()
                 for k in range(0, len(new), CHUNK)]
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work, *task) for task in tasks]
            try:
                for done in as_completed(running):
                    files.demand_dvc()
                    bar.update(done.result())
            finally:
                pool.shutdown(cancel_futures=True)

    def stored(self, features):
        """Return `features` in the dtype in which they are stored.

        Raises:
            ArtefactError: one is not finite in it.
        """
        with np.errstate(over="ignore"):
            features = features.astype(self.dtype)
        if not np.isfinite(features).all():
            raise ArtefactError(
                f"features: too large for {self.dtype}; check "
                "backbone.weights, or set extract.dtype to float32")
        return features


def _short(key):
    """Return the digest of a key, short enough for a folder's name."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
