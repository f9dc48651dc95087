#!/usr/bin/env python3
"""The cached features, and the manifest that says how they were computed."""
import hashlib
import json
import os

from stages.lib.common import arrays, errors, files, seals

PATH = "features/manifest.json"
EVALUATION = "evaluation/"    # its arrays have a manifest of their own
EVALUATION_PATH = f"features/{EVALUATION}manifest.json"
PATHS = PATH, EVALUATION_PATH
VIEWS_README = "features/views/README.txt"
FIXED = EVALUATION_PATH, VIEWS_README    # of folders that may have no arrays
REPAIR = files.REPAIR


def write(key, class_names, described, path=PATH):
    """Write the manifest at `path`.

    Args:
        key: the cache key, a dictionary, see `stages/extract.py`.
        class_names: in the order of the labels.
        described: path -> {"rows": their number, "sha256": of the file}.
    """
    seals.write_json(path, {"key": key, "class_names": class_names,
                            "arrays": described})


def of_array(path):
    """Return the path of the manifest that describes the array at `path`.

    The views for evaluation have their own, so that `train` and `fuse`, which
    do not read them, do not run when they change.
    """
    return PATHS[path.startswith(os.path.dirname(EVALUATION_PATH) + "/")]


def read(key=None, path=PATH):
    """Return the manifest as a dictionary, without its seal.

    Args:
        key: values that the cache key must contain; others are not checked.
        path: of the manifest.

    Raises:
        ArtefactError: missing, damaged, or the cache key differs from `key`.
    """
    found = seals.read_json(path)
    for name, value in (key or {}).items():
        if found["key"].get(name) != value:
            raise errors.ArtefactError(
                f"features: computed with {name} {found['key'].get(name)}, "
                f"expected is {value}; {REPAIR}")
    return found


def features(name):
    """Return the features `name`, float (n, …), memory-mapped.

    Args:
        name: a split, "views/" and a view of train, or "evaluation/", a
            split, "/" and a view.

    Raises:
        ArtefactError: missing, damaged, or changed since `extract` wrote it;
            or its manifest is of other features than `PATH`.
    """
    path = f"features/{name}_x.npy"
    array = arrays.open_array(path)
    sealed = of_array(path)
    described = read(read()["key"], sealed)["arrays"].get(path)
    if not described or files.digest(path, "sha256") != described["sha256"]:
        raise errors.ArtefactError(
            f"{path}: its SHA-256 differs from that in "
            f"{sealed}; {REPAIR}")
    return array


def labelled(split):
    """Return the features of `split` and their labels, integer (n,).

    Raises:
        ArtefactError: as `features` and `seals.check_order`; the labels are
            damaged, or their number differs.
    """
    seals.check_order("prepare", "resize", "extract")
    x = features(split)
    path = f"data/prepared/{split}_y.npy"
    seals.check("prepare", path)
    y = arrays.open_array(path, ndim=1)
    if len(x) != len(y):
        raise errors.ArtefactError(
            f"features/{split}_x.npy has {len(x)} rows, {path} {len(y)}; run "
            "`dvc repro`")
    return x, y


def digest(key):
    """Return the SHA-256 of a cache key, in hexadecimal."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
