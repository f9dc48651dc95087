#!/usr/bin/env python3
"""Refuse model files that could run code of their own.

Of the Lambda layers, which are Python bytecode, only those of `fuse` are
accepted, and of all others only stock layers of Keras.
"""
import json

import h5py

from stages.lib.common import errors, files, stock_layers
from stages.lib.fusing import view_layers
from stages.lib.images import rescaling

OURS = (rescaling.rescale_layer, view_layers.show_layer,
        view_layers.average_layer)


def check(path):
    """Raise a PipelineError if the model file `path` could run foreign code.

    Raises:
        ArtefactError: it is no Keras model in HDF5.
        PipelineError: names the layer, or the class that is not known.
    """
    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise files.no_model(path, error) from error
    for found in stock_layers.objects(config):
        reason = stock_layers.foreign(found)
        if reason and reason.endswith("is a Lambda"):
            reason = None if _is_ours(found["config"]) else (
                f"{reason} that this project does not write under this "
                "version of Python")
        if reason:
            raise errors.PipelineError(
                f"{path}: {reason}, which could run code of its own; if you "
                "trust where the file comes from, add --trust")


def _is_ours(config):
    """Return whether a Lambda's configuration is that of one of `OURS`."""
    arguments = config.get("arguments")
    if not isinstance(arguments, dict):
        return False
    ours = [layer(**{str(name): value for name, value in arguments.items()}
                  ).get_config() for layer in OURS]
    return any(json.loads(json.dumps(one)) == {**config, "name": one["name"]}
               for one in ours)
