#!/usr/bin/env python3
"""The cached features of another revision, read through DVC; no checkout."""
import contextlib
import hashlib
import json
import tempfile

import numpy as np
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from stages.lib.cache import row_store
from stages.lib.common import arrays, errors, files, manifest
from stages.lib.inspection import cached_features


def load(rev):
    """Return the `CachedFeatures` of the revision or experiment `rev`.

    Raises:
        ArtefactError: the revision does not exist, its features are not in
            DVC's cache, or differ from its manifest.
    """
    with _explained(rev):
        system = DVCFileSystem(".", rev=rev)
        content = json.loads(system.read_bytes(manifest.PATH))
        parts = [_split(system, split, content["arrays"], rev)
                 for split in files.SPLITS]
    return cached_features.join(parts, content)


def _split(system, split, described, rev):
    """Return vectors, labels, images and files of one split."""
    found = []
    for path, read in [
            (f"features/{split}_x.npy", cached_features.pooled),
            (f"features/{split}_rows.npy", np.array),
            (f"data/prepared/{split}_y.npy", np.array)]:
        with tempfile.NamedTemporaryFile(suffix=".npy") as copy:
            digest = hashlib.sha256()
            with system.open(path, "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
                    copy.write(block)
            copy.flush()
            if path in described and (digest.hexdigest()
                                      != described[path]["sha256"]):
                raise errors.ArtefactError(
                    f"{path} of {rev}: its SHA-256 differs from that in its "
                    f"{manifest.PATH}")
            found.append(read(arrays.open_array(copy.name)))
    vectors, table, labels = found
    if (table.dtype != row_store.TABLE
            or not len(vectors) == len(table) == len(labels)):
        raise errors.ArtefactError(
            f"features of {split} of {rev}: vectors, table "
            "and labels do not belong together")
    return vectors, labels, table["image"], None


@contextlib.contextmanager
def _explained(rev):
    """Raise an ArtefactError where DVC cannot read `rev`."""
    try:
        yield
    except (DvcException, SCMError, OSError, ValueError, KeyError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error)
        raise errors.ArtefactError(
            f"--rev {rev}: its features cannot be read ({why}); name a "
            "commit, branch or experiment, and try `dvc fetch`") from error
