#!/usr/bin/env python3
"""Descriptors: small YAML files that stand for data or weights."""
from stages.lib import checked
from stages.lib.errors import ParameterError


def read(path, models):
    """Return the descriptor at `path`, checked by the model of its kind.

    Args:
        path: a YAML file with a key `kind`.
        models: kind -> subclass of `params.Group`.

    Raises:
        ParameterError: missing, not YAML, of unknown kind, or a key is wrong.
    """
    value = checked.read(path)
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in models:
        raise ParameterError(f"{path}: kind: unknown {kind!r}; known: "
                             f"{', '.join(models)}")
    return checked.parse(models[kind], value, path)
