#!/usr/bin/env python3
"""YAML files become checked models, or one line says what is wrong."""
from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from stages.lib import names
from stages.lib.errors import ParameterError


def read(path):
    """Return what a YAML file holds.

    YAML 1.2, by the library that DVC reads it with: `1e-3` is a number.
    (Asking `dvc.api.params_show` costs half a second more.)

    Raises:
        ParameterError: missing, or not YAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return YAML(typ="safe").load(file)
    except (OSError, ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{path}: cannot be read ({reason})") from error


def parse(model, values, path):
    """Return `values`, read from `path`, as a checked `model`.

    Raises:
        ParameterError: naming the first key that is wrong; there are none.
    """
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: holds no keys; write `key: value`")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(key) for key in first["loc"]]
        raise ParameterError(f"{path}: {_explain(first, keys, model)}"
                             ) from error


def _explain(error, keys, model):
    """Return one line about one of pydantic's errors."""
    name = ".".join(keys)
    if error["type"] == "extra_forbidden":
        for key in keys[:-1]:
            model = model.model_fields[key].annotation
        return f"{name}: {names.unknown(keys[-1], model.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: missing; every key must be there"
    text = error["msg"].replace("Value error, ", "")
    if error["type"] == "value_error":
        return f"{name}: {text}"
    return f"{name}: {text[0].lower() + text[1:]}, not {error['input']!r}"
