#!/usr/bin/env python3
"""Let DVC notice changes of the images of a table, which it does not know.

`prepare` depends on the folder data/linked.  It contains a link to each image
of a table; DVC hashes the file behind a link.
"""
import hashlib
import os

from stages.lib.common import files

FOLDER = "data/linked"
KEPT = ".gitignore"    # in git, so that the folder exists


def watch(paths):
    """Make the links in `FOLDER` exactly those to these files.

    Args:
        paths: of files; missing ones are left out, because DVC stops at a
            broken link.

    Raises:
        StorageError: a link cannot be written.
    """
    wanted = {_name(path): os.path.abspath(path) for path in paths
              if os.path.isfile(path)}
    with files.storage_errors(FOLDER):
        os.makedirs(FOLDER, exist_ok=True)
        for name in os.listdir(FOLDER):
            link = os.path.join(FOLDER, name)
            if os.path.islink(link) and os.readlink(link) == wanted.get(name):
                del wanted[name]
            elif name != KEPT:
                os.unlink(link)
        for name, path in wanted.items():
            os.symlink(path, os.path.join(FOLDER, name))


def _name(path):
    """Return the name of the link to `path`: unique, and readable."""
    digest = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()
    return f"{digest[:16]}-{os.path.basename(path)[-50:]}"
