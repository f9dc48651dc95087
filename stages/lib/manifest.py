#!/usr/bin/env python3
"""The manifest of the cached features, and the features that it vouches for.
"""
import hashlib
import json

from stages.lib import arrays, files
from stages.lib.errors import ArtefactError

PATH = "features/manifest.json"
MEND = "run `make repair`, then `dvc repro`"


def write(key, class_names, arrays):
    """Write the manifest.

    Args:
        key: `backbone.key`.
        class_names: in the order of the labels.
        arrays: path -> {"rows": their number, "sha256": of the file}.
    """
    content = {"key": key, "class_names": class_names, "arrays": arrays}
    files.write_json(PATH, {**content, "seal": _seal(content)})


def read(key=None, path=PATH):
    """Return the manifest.

    Raises:
        ArtefactError: missing, damaged, or made with another `key`.
    """
    found = files.read_json(path)
    if not isinstance(found, dict) or found.pop("seal", 0) != _seal(found):
        raise ArtefactError(f"{path}: not as extract wrote it; {MEND}")
    for name, value in (key or {}).items():
        if found["key"].get(name) != value:
            raise ArtefactError(
                f"features: computed with {name} {found['key'].get(name)}, "
                f"wanted is {value}; {MEND}")
    return found


def features(name):
    """Return the features `name`, float (n, …), memory-mapped.

    Args:
        name: a split, or "views/" and a view of train.

    Raises:
        ArtefactError: missing, damaged, or not the bytes that were written.
    """
    path = f"features/{name}_x.npy"
    array = arrays.open_array(path)
    promised = read()["arrays"].get(path)
    if not promised or files.digest(path, "sha256") != promised["sha256"]:
        raise ArtefactError(f"{path}: not the bytes that {PATH} vouches for; "
                            f"{MEND}")
    return array


def labelled(split):
    """Return the features of `split` and their labels, integer (n,).

    Raises:
        ArtefactError: as `features`, or there is not one label a row, or it
            is no class.
    """
    x = features(split)
    path = f"data/prepared/{split}_y.npy"
    y = arrays.open_array(path, ndim=1)
    if len(x) != len(y):
        raise ArtefactError(f"features/{split}_x.npy has {len(x)} rows, "
                            f"{path} {len(y)}; run `dvc repro`")
    if len(y) and y.max() >= len(read()["class_names"]):
        raise ArtefactError(f"{path}: row {y.argmax()}: label {y.max()} is no "
                            "class; run `make verify`")
    return x, y


def digest(key):
    """Return the SHA-256 of `backbone.key`, in hexadecimal."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _seal(content):
    """Return the SHA-256 of a manifest's content, in hexadecimal."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
