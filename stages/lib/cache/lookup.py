#!/usr/bin/env python3
"""Find the rows that are known, and those that have to be computed.

A row is identified by the pixels that the backbone sees and by the cache key.
Known rows are searched in the scratch, so that a killed run resumes, and in
the previous version in DVC's cache, so that after images were added, removed,
renamed or reordered only new images are computed.  See docs/cache.md.
"""
import glob
import os
import stat

import numpy as np

from stages.lib.cache import previous_version, row_store
from stages.lib.common import digests, errors, manifest

SCRATCH = "features/scratch"
PRIOR = "prior"    # in the scratch: arrays in another order, to copy from


def scratch(key):
    """Return the folder of the scratch of the cache key `key`."""
    return f"{SCRATCH}/{manifest.digest(key)[:16]}"


class Cache:
    """The rows that are needed, and where the known ones are.

    Attributes:
        key, shape, dtype: of a row.
        images: array -> digests of each row's pixels.
        read: array -> function from row numbers to pixels.
        folder: the scratch of this key.
        sources: digest of pixels -> array and row with its features.
        good: path of an array in the scratch -> which rows are good.
        new: array -> rows to compute, each image once.
        before: key of the previous run, or None.
    """

    def __init__(self, key, images, shape, dtype):
        """Find known rows; write nothing.

        Args:
            key: cache key, all that a row depends on except its image.
            images: name of the array -> a function from row numbers to
                pixels, uint8, C-contiguous; and the number of rows.
            shape: of a row, `dtype`: of a feature.
        """
        self.key, self.shape, self.dtype = key, tuple(shape), np.dtype(dtype)
        self.images = {name: digests.of_all(read, count)
                       for name, (read, count) in images.items()}
        self.read = {name: read for name, (read, _) in images.items()}
        self.folder = scratch(key)
        self.before, self.sources, self.good = None, {}, {}
        self._looked_at = set()
        if os.path.exists(f"{self.folder}/key.json"):
            self._look(key, self._scratch())
        self.new = self._unknown()
        if self.before is None or self.count:
            self._look(*previous_version.load(previous_version.outs()))
            self.new = self._unknown()

    @property
    def count(self):
        """Return the number of rows to compute."""
        return sum(map(len, self.new.values()))

    @property
    def unfinished(self):
        """Return the number of rows that an interrupted run left."""
        return sum(int(good.sum()) for good in self.good.values()
                   if not good.all())

    def bytes_to_write(self):
        """Return the bytes of all arrays that have to be written."""
        row = int(np.prod(self.shape)) * self.dtype.itemsize
        return sum(len(images) * row for name, images in self.images.items()
                   if not self.fits(name))

    def fits(self, name):
        """Return whether the array `name` in the scratch can be completed.

        It must have the same images in the same order.  If it is not
        complete, it must not be linked to DVC's cache, or have been: a
        linked file is never written.
        """
        x_path, table_path = row_store.paths(self.folder, name)
        if x_path not in self.good:
            return False
        if not np.array_equal(np.load(table_path)["image"],
                              self.images[name]):
            return False
        return self.good[x_path].all() or all(
            found.st_nlink == 1 and found.st_mode & stat.S_IWUSR
            for found in map(os.stat, (x_path, table_path)))

    def _unknown(self):
        """Return array -> rows whose images are in no source."""
        known = np.frombuffer(b"".join(self.sources), np.uint8)
        parts = [known.reshape(-1, digests.DIGEST), *self.images.values()]
        first = digests.first_of_each(np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts])
        return {name: new - begin for name, new, begin in zip(
            self.images, np.split(first, np.searchsorted(first, ends))[1:],
            ends)}

    def _scratch(self):
        """Return the arrays of the scratch, those moved aside last."""
        found = []
        tables = glob.glob(f"{self.folder}/**/*_rows.npy", recursive=True)
        for table in sorted(tables, key=lambda path: (PRIOR in path, path)):
            try:
                found.append(row_store.StoredRows(
                    table.replace("_rows.npy", "_x.npy"), table))
            except errors.ArtefactError as error:
                print(f"extract: not reused: {error}")
        return found

    def _look(self, key, arrays):
        """Add the good rows of `arrays`, computed with `key`, to sources."""
        self.before = self.before or key
        if key != self.key:
            return
        for array in arrays:
            if (array.inode in self._looked_at or array.x.dtype != self.dtype
                    or array.x.shape[1:] != self.shape):
                continue
            self._looked_at.add(array.inode)
            good, damaged = array.check()
            if damaged.any():
                some = ", ".join(map(str, np.flatnonzero(damaged)[:5]))
                print(f"extract: {array.path}: {damaged.sum()} damaged rows "
                      f"({some}{', …' if damaged.sum() > 5 else ''}) are "
                      "not reused")
            self.good[array.path] = good
            for row in np.flatnonzero(good):
                self.sources.setdefault(array.table["image"][row].tobytes(),
                                        (array, row))
