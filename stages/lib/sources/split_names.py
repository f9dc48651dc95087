#!/usr/bin/env python3
"""The names that people give to splits, in folders, tables and arrays."""
import difflib
import re

from stages.lib.common import errors

NAMES = {"train": "train", "training": "train",
         "validation": "validation", "val": "validation",
         "valid": "validation", "dev": "validation",
         "test": "test", "testing": "test", "holdout": "test"}
NEAR = 0.8    # similarity from which a name is taken for a split's


def find(name):
    """Return the split that `name` means, in any capitals, or None."""
    return NAMES.get(name.lower())


def nearest(name, words=True):
    """Return the name of a split that `name` resembles, or None.

    With `words`, a name such as `training_set` or `Test images` counts, too.
    """
    parts = re.split("[^a-z]+", name.lower()) if words else []
    near = [part for part in parts if part in NAMES]
    near += difflib.get_close_matches(name.lower(), NAMES, 1, NEAR)
    return near[0] if near else None


def check(name, path, kind="{}", words=True):
    """Raise a SourceError if `name`, which is no split, resembles one.

    Args:
        name: of a folder or array.
        path: of the source, named in errors.
        kind: of the name, such as "{}/", for errors.
        words: as in `nearest`.
    """
    near = nearest(name, words)
    if near:
        raise errors.SourceError(
            f"{path}: {kind.format(name)} is no split; did you mean "
            f"{kind.format(near)}? Rename it, or remove it from the source")
