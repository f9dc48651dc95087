#!/usr/bin/env python3
"""Let DVC notice changes of files that dvc.yaml cannot name.

Stages depend on a folder of links: `prepare` on data/linked, to the images of
a table; `extract`, `train` and `fuse` on models/linked, to a saved model.  DVC
hashes the file behind a link.
"""
import hashlib
import os

from stages.lib.common import files, inputs

IMAGES = "data/linked"
MODEL = "models/linked"
KEPT = ".gitignore"    # in git, so that the folder exists


def watch(folder, paths):
    """Make the links in `folder` exactly those to these files.

    Args:
        folder: `IMAGES` or `MODEL`.
        paths: of files; missing ones are left out, because DVC stops at a
            broken link.

    Raises:
        StorageError: a link cannot be written.
    """
    wanted = {_name(path): os.path.abspath(path) for path in paths
              if os.path.isfile(path)}
    with files.storage_errors(folder):
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            link = os.path.join(folder, name)
            if os.path.islink(link) and os.readlink(link) == wanted.get(name):
                del wanted[name]
            elif name != KEPT:
                os.unlink(link)
        for name, path in wanted.items():
            os.symlink(path, os.path.join(folder, name))
    inputs.written(folder)


def _name(path):
    """Return the name of the link to `path`: unique, and readable."""
    digest = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()
    return f"{digest[:16]}-{os.path.basename(path)[-50:]}"
