#!/usr/bin/env python3
"""Descriptors: small YAML files that stand for data or weights."""
from ruamel.yaml import YAML, YAMLError

from stages.lib.errors import ParameterError
from stages.lib.params import parse


def read(path, models):
    """Return the descriptor at `path`, checked by the model of its kind.

    Args:
        path: a YAML file with a key `kind`.
        models: kind -> subclass of `params.Group`.

    Raises:
        ParameterError: missing, not YAML, of unknown kind, or a key is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            value = YAML(typ="safe").load(file)
    except (OSError, ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{path}: no descriptor can be read from it "
                             f"({reason})") from error
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in models:
        raise ParameterError(f"{path}: kind: unknown {kind!r}; known: "
                             f"{', '.join(models)}")
    return parse(models[kind], value, path)
