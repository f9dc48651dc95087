#!/usr/bin/env python3
"""The features of the previous version, in DVC's cache."""
import os

from stages.lib.cache import row_store
from stages.lib.common import errors, manifest


def outs():
    """Return path in the project -> (path in DVC's cache, md5).

    The outs of `extract` that dvc.lock names.  While the stage runs, they are
    missing in the project, but not in DVC's cache.  Empty if dvc.lock is
    missing or cannot be read.
    """
    from dvc.exceptions import DvcException    # half a second
    from dvc.repo import Repo
    found = {}
    try:
        stages = Repo().stage.load_one("dvc.yaml", "extract")
        for out in stages.outs:
            digest = out.hash_info
            if not digest:
                continue
            if not digest.isdir:
                found[str(out)] = (out.cache.oid_to_path(digest.value),
                                   digest.value)
                continue
            found[str(out)] = (out.cache.oid_to_path(digest.value),
                               digest.value.replace(".dir", ""))
            for key, _, inner in out.get_obj() or ():
                found["/".join([str(out), *key])] = (
                    out.cache.oid_to_path(inner.value), inner.value)
    except (DvcException, OSError, AttributeError, TypeError) as error:
        print(f"extract: the previous version cannot be found in DVC's cache "
              f"({error}); all rows are computed")
    return found


def load(found):
    """Return the key and the `StoredRows` of the previous version.

    Args:
        found: what `outs` returned.

    Returns:
        (None, []) if DVC's cache no longer contains it.
    """
    path = found.get(manifest.PATH, ("", ""))[0]
    if not os.path.exists(path):
        return None, []
    try:
        key = manifest.read(path=path)["key"]
    except errors.ArtefactError as error:
        print(f"extract: not reused: {error}")
        return None, []
    arrays = []
    for name in sorted(found):
        if not name.endswith("_rows.npy"):
            continue
        array = name.replace("_rows.npy", "_x.npy")
        if not all(os.path.exists(found.get(one, ("", ""))[0])
                   for one in (array, name)):
            continue
        try:
            arrays.append(row_store.StoredRows(found[array][0],
                                               found[name][0]))
            arrays[-1].path = f"{array} in DVC's cache"
        except errors.ArtefactError as error:
            print(f"extract: not reused: {error}")
    return key, arrays
