#!/usr/bin/env python3
"""Descriptors: small YAML files that describe data or weights."""
from stages.lib.common import errors, yaml_models


def kind(path, known):
    """Return the value of the key `kind` in the descriptor at `path`.

    Args:
        path: a YAML file.
        known: the kinds that are accepted.

    Raises:
        ParameterError: missing, not YAML, or of unknown kind.
    """
    value = yaml_models.read(path)
    found = value.get("kind") if isinstance(value, dict) else None
    if found not in known:
        raise errors.ParameterError(f"{path}: kind: unknown {found!r}; known: "
                                    f"{', '.join(known)}")
    return found


def read(path, model):
    """Return the descriptor at `path` as an instance of `model`.

    Args:
        path: a YAML file.
        model: subclass of `params.Group`.

    Raises:
        ParameterError: missing, not YAML, or a key is invalid.
    """
    return yaml_models.parse(model, yaml_models.read(path), path)
