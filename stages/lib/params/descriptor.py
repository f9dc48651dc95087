#!/usr/bin/env python3
"""Descriptors: small YAML files that describe data or weights."""
from stages.lib.common import errors, yaml_models


def read(path, models):
    """Return the descriptor at `path` as an instance of the model of its kind.

    Args:
        path: a YAML file with a key `kind`.
        models: kind -> subclass of `params.Group`.

    Raises:
        ParameterError: missing, not YAML, of unknown kind, or a key is
            invalid.
    """
    value = yaml_models.read(path)
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in models:
        raise errors.ParameterError(f"{path}: kind: unknown {kind!r}; known: "
                                    f"{', '.join(models)}")
    return yaml_models.parse(models[kind], value, path)
