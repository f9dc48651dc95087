#!/usr/bin/env python3
"""The manifest of the cached features, and the features that it vouches for.
"""
import hashlib
from importlib.metadata import version

from stages.lib import files
from stages.lib.errors import ArtefactError

PATH = "features/manifest.json"
LIBRARIES = ("tensorflow", "keras", "numpy")
MEND = "run `dvc repro --force --single-item extract`, then `dvc repro`"


def write(key, class_names, rows, sha256):
    """Write the manifest; `rows` and `sha256` are per split."""
    files.write_json(PATH, {
        "key": key, "versions": {name: version(name) for name in LIBRARIES},
        "class_names": class_names, "rows": rows, "sha256": sha256})


def read(key=None):
    """Return the manifest.

    Raises:
        ArtefactError: missing, damaged, or made with another `key`.
    """
    found = files.read_json(PATH)
    for name, value in (key or {}).items():
        if found["key"].get(name) != value:
            raise ArtefactError(
                f"features: computed with {name} {found['key'].get(name)}, "
                f"wanted is {value}; {MEND}")
    return found


def features(split):
    """Return the features of `split`, float (n, …), memory-mapped.

    Raises:
        ArtefactError: missing, damaged, or not the bytes that were written.
    """
    path = f"features/{split}_x.npy"
    array = files.open_array(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != read()["sha256"][split]:
        raise ArtefactError(f"{path}: not the bytes that {PATH} vouches for; "
                            f"{MEND}")
    return array


def labelled(split):
    """Return the features of `split` and their labels, integer (n,).

    Raises:
        ArtefactError: as `features`, or there is not one label a row.
    """
    x = features(split)
    path = f"data/prepared/{split}_y.npy"
    y = files.open_array(path, ndim=1)
    if len(x) != len(y):
        raise ArtefactError(f"features/{split}_x.npy has {len(x)} rows, "
                            f"{path} {len(y)}; run `dvc repro`")
    return x, y
