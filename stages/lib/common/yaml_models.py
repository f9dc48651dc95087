#!/usr/bin/env python3
"""Read YAML files into pydantic models; explain what is wrong in one line."""
import difflib
import re

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from stages.lib.common import errors


def read(path):
    """Return the content of a YAML file.

    YAML 1.2, read by the library that DVC uses: `1e-3` is a number.
    (`dvc.api.params_show` takes half a second longer.)

    Raises:
        ParameterError: the file is missing or not YAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return YAML(typ="safe").load(file)
    except (OSError, ValueError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise errors.ParameterError(
            f"{path}: cannot be read ({reason})") from error


def value(values, name):
    """Return the value of `name`, such as "train.epochs"; None: missing.

    Args:
        values: what `read` returned.
        name: of a leaf, its groups first.
    """
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def filled(text, values):
    """Return `text` of dvc.yaml with `values` in place of its `${name}`."""
    return re.sub(r"\$\{([\w.]+)\}",
                  lambda name: str(value(values, name[1])), text)


def parse(model, values, path):
    """Return `values`, the content of `path`, as an instance of `model`.

    Args:
        model: subclass of pydantic.BaseModel.
        values: what `read` returned.
        path: named in errors.

    Raises:
        ParameterError: there are no keys, or one is invalid; names the first.
    """
    if not isinstance(values, dict):
        raise errors.ParameterError(
            f"{path}: contains no keys; write `key: value`")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors()
        keys = _keys(first, values)
        same = [one["msg"] for one in others if _keys(one, values) == keys]
        raise errors.ParameterError(
            f"{path}: {_explain(first, keys, model, same)}") from error


def _keys(error, values):
    """Return the keys in `values` to which one of pydantic's errors belongs.

    Pydantic adds the name of a type where several types are possible.
    """
    keys = []
    for key in error["loc"]:
        known = (key in values if isinstance(values, dict)
                 else isinstance(key, int))
        if not known and error["type"] != "missing":
            break
        keys.append(str(key))
        values = values[key] if known else None
    return keys


def unknown_name(name, known):
    """Return the message about an unknown name: the nearest, then all."""
    near = difflib.get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown name {name!r}; {hint}known: {', '.join(sorted(known))}"


def _explain(error, keys, model, same):
    """Return one line about one of pydantic's errors.

    Args:
        error: the first one.
        keys: those to which it belongs.
        model: subclass of pydantic.BaseModel.
        same: messages about other types that are possible there.
    """
    name = ".".join(keys)
    if error["type"] == "extra_forbidden":
        for key in keys[:-1]:
            model = model.model_fields[key].annotation
        return f"{name}: {unknown_name(keys[-1], model.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: missing; every key is required"
    text = error["msg"].replace("Value error, ", "")
    if error["type"] == "model_type":
        text = "Input should be a group of keys"
    if error["type"] == "value_error":
        return f"{name}: {text}"
    for other in same:
        text += other.replace("Input should be", " or", 1)
    return f"{name}: {text[0].lower() + text[1:]}, not {error['input']!r}"
