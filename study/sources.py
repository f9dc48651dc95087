#!/usr/bin/env python3
"""The data of the points: files that the user names, arrays made of them."""
import json
import os
import subprocess
import sys
import zipfile

import numpy as np

from stages.lib.common import errors, files

GIVEN = ("DATA", "WEIGHTS")    # folders, named in the environment
PREPARED = "data/prepared"


def given():
    """Return DATA and WEIGHTS -> absolute path, of those that are set."""
    return {name: os.path.abspath(os.environ[name]) for name in GIVEN
            if os.environ.get(name)}


def resolve(value):
    """Return `value` with a leading DATA/ or WEIGHTS/ as absolute path.

    Raises:
        SourceError: the folder is not named, or has no such file.
    """
    name, slash, rest = str(value).partition("/")
    if name not in GIVEN or not slash:
        return value
    if name not in given():
        raise errors.SourceError(
            f"{value}: {name} is not set; make study {name}=/absolute/path")
    path = os.path.join(given()[name], rest)
    if not os.path.exists(path):
        raise errors.SourceError(f"{value}: no such file in {name}")
    return path


def anonymous(text):
    """Return `text` without the paths of this machine."""
    for name, path in given().items():
        text = text.replace(path, name)
    return text.replace(os.getcwd() + os.sep, "")


def path(name, seed):
    """Return the absolute path of the derived source `name` at `seed`."""
    return os.path.abspath(f"build/sources/{name}-{seed}.npz")


def make(name, sources, seed, clone):
    """Write the derived source `name`, and those it needs; return its path.

    Args:
        name: key of `sources`.
        sources: name -> `points.Source`.
        seed: of the point, for sources that are drawn again.
        clone: folder in which the features of its origin were extracted last,
            if it is made without suspects.

    Raises:
        SourceError: as `resolve`; or the origin contains no such arrays.
    """
    source = sources[name]
    drawn = source.seed + seed if source.redraw else source.seed
    target = path(name, drawn)
    if os.path.exists(target):
        return target
    if source.without_suspects:
        arrays = _without_suspects(clone)
    else:
        origin = (make(source.of, sources, seed, clone)
                  if source.of in sources else resolve(source.of))
        arrays = _arrays(origin, name)
        _change(arrays, source, drawn)
    with files.replacing(target) as file:
        np.savez(file, **arrays)
    return target


def _arrays(origin, name):
    """Return the arrays in the `.npz` file `origin` of the source `name`."""
    try:
        with np.load(origin) as file:
            arrays = {key: file[key] for key in file.files}
        len(arrays["x_train"]), len(arrays["y_train"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError,
            zipfile.BadZipFile) as error:
        raise errors.SourceError(
            f"{origin}: no x_train and y_train can be read from it ({error}); "
            f"name an .npz file in sources.{name}.of") from error
    return arrays


def _change(arrays, source, seed):
    """Draw the images of `source` from `arrays`, and give wrong labels."""
    random = np.random.default_rng(seed)
    labels = arrays["y_train"].reshape(-1).copy()
    chosen = np.arange(len(labels))
    if source.per_class:
        order = random.permutation(len(labels))
        chosen = np.sort(np.concatenate([
            order[labels[order] == one][:source.per_class]
            for one in np.unique(labels)]))
    labels = labels[chosen]
    wrong = random.permutation(len(labels))[
        :round(source.wrong_labels * len(labels))]
    classes = int(labels.max()) + 1
    labels[wrong] = (labels[wrong] + random.integers(
        1, classes, len(wrong))) % classes
    arrays.update(x_train=arrays["x_train"][chosen], y_train=labels)


def _without_suspects(clone):
    """Return the arrays of `clone` without the suspects of its doctor.

    Suspects of train and validation are removed; test stays as it is.
    """
    done = subprocess.run(
        [sys.executable, "-m", "commands.inspect_features", "--json"],
        cwd=clone, check=False, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise errors.SourceError("the doctor failed, see above")
    suspects = json.loads(done.stdout)["label_errors"]
    arrays = {}
    for split, short in [("train", "train"), ("validation", "val"),
                         ("test", "test")]:
        rows = [one["row"] for one in suspects
                if one["split"] == split and split != "test"]
        for letter in "xy":
            whole = np.load(f"{clone}/{PREPARED}/{split}_{letter}.npy")
            arrays[f"{letter}_{short}"] = np.delete(whole, rows, axis=0)
    return arrays
