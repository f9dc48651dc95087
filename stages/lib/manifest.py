#!/usr/bin/env python3
"""The manifest of the cached features: what they were computed from."""
from stages.lib import files
from stages.lib.errors import ArtefactError

PATH = "features/manifest.json"


def write(key, class_names, rows, sha256):
    """Write the manifest; `rows` and `sha256` are per split."""
    files.write_json(PATH, {"key": key, "class_names": class_names,
                            "rows": rows, "sha256": sha256})


def read(expected=None):
    """Return the manifest.

    Raises:
        ArtefactError: missing, damaged, or its key is not `expected`.
    """
    found = files.read_json(PATH)
    for name, value in (expected or {}).items():
        if found["key"].get(name) != value:
            raise ArtefactError(
                f"features: computed with {name} {found['key'].get(name)}, "
                f"wanted is {value}; run `dvc repro`")
    return found
