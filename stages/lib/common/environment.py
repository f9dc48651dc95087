#!/usr/bin/env python3
"""Environments: check this Python, before its imports; find extras, commands.

Python 3.8 and later can parse this file.  (`importlib.metadata` takes 20 ms.)
"""
import importlib.util
import os
import sys

# `make onnx` makes it, beside the environment of the running Python.
ONNX_PYTHON = os.path.join(os.path.dirname(sys.prefix), ".venv-onnx", "bin",
                           "python")
OLDEST, TOO_NEW = (3, 9), (3, 12)    # of TensorFlow 2.15


def check():
    """Exit with one line if this is not a Python as `make setup` makes it."""
    reason = _reason()
    if reason:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"{sys.executable} (Python {version}) cannot run this: "
                 f"{reason}; run `make setup` once, then "
                 "`. .venv/bin/activate`")


def has(package):
    """Return whether this Python has `package`, without importing it."""
    return importlib.util.find_spec(package) is not None


def variables():
    """Return the environment with the commands of this Python first, for DVC.

    `python3` of dvc.yaml is then this one, also if its environment is not
    activated.
    """
    return {**os.environ, "PYTHONUTF8": "1", "PATH": os.pathsep.join(
        [os.path.dirname(sys.executable),
         os.environ.get("PATH", os.defpath)])}


def _reason():
    """Return why this Python cannot run the pipeline, or None."""
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        return "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11"
    for package in ("dvc", "tensorflow"):    # others come with them
        found = importlib.util.find_spec(package)
        if found is None or not found.origin:
            return f"it has no package {package}"
    folder = os.path.dirname(os.path.dirname(found.origin))
    versions = [name[len("tensorflow-"):-len(".dist-info")]
                for name in os.listdir(folder)
                if name.startswith("tensorflow-")
                and name.endswith(".dist-info")]
    if versions and not any(one.startswith("2.15.") for one in versions):
        return f"it has TensorFlow {versions[0]}, needed is 2.15"
    return None
