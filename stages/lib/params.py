#!/usr/bin/env python3
"""The parameters: which there are, and what they may be."""
import inspect
import os
from typing import Annotated, Dict, List, Literal, Optional, Union

from pydantic import (AfterValidator, BaseModel, ConfigDict, Field,
                      field_validator, model_validator)

from stages.lib import checked, names, views

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=8, le=1024)]
Count = Annotated[int, Field(ge=1)]
OURS = {"include_top", "weights", "input_tensor", "input_shape", "pooling",
        "classes", "classifier_activation", "include_preprocessing"}


def _reachable(path):
    """Return `path` unless it is relative and leads out of the repository.

    Experiments run in folders of their own: it would not be found there.
    """
    if not os.path.isabs(path) and os.path.relpath(path).startswith(".."):
        raise ValueError(f"{path} is outside the repository; write its "
                         f"absolute path: {os.path.abspath(path)}")
    return path


def _model(path):
    """Return `path` if it is an .h5 file in the repository."""
    if os.path.isabs(path) or os.path.normpath(path).startswith(".."):
        raise ValueError(f"{path} is outside the repository; write a path "
                         "relative to params.yaml")
    if not path.endswith(".h5"):
        raise ValueError(f"{path} does not end with .h5")
    return path


Path = Annotated[str, AfterValidator(_reachable)]


class Group(BaseModel):
    """A group of keys: unknown ones are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Group):
    """Where the images come from, and what validation takes of train."""

    source: Path
    validation_fraction: Fraction
    test_fraction: Fraction
    max_refused_fraction: Share
    seed: Seed


class Resize(Group):
    """What the backbone sees."""

    side: Side
    mode: Literal["stretch", "crop", "pad"]
    antialias: bool


class Backbone(Group):
    """The frozen part."""

    application: str
    options: Dict[str, Union[bool, int, float, str]]
    weights: Path
    pooling: Literal["avg", "max"]
    cut: Union[int, str]

    @field_validator("application")
    @classmethod
    def known(cls, name):
        """Refuse names that neither Keras Applications nor we have."""
        return names.one_of(name, names.applications())

    @model_validator(mode="after")
    def takes_options(self):
        """Refuse options that the application does not have."""
        taken = {name for name, parameter in inspect.signature(
            names.applications()[self.application]).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD} - OURS
        for name in self.options:
            if name not in taken:
                known = ", ".join(sorted(taken)) or "none"
                raise ValueError(
                    f"{self.application} takes no option {name!r} (it takes: "
                    f"{known}); remove it from backbone.options")
        return self


class Extract(Group):
    """How features are computed and stored."""

    engine: Literal["tflite", "tensorflow"]
    dtype: Literal["float32", "float16"]
    views: List[str]

    @field_validator("views")
    @classmethod
    def known(cls, given):
        """Refuse unknown views, and lists that do not begin with identity."""
        for name in given:
            views.parts(name)
        if given[:1] != [views.IDENTITY] or len(set(given)) < len(given):
            raise ValueError(f"must begin with {views.IDENTITY}, and name "
                             f"each view once, not {given}")
        return given


class Train(Group):
    """The head and its training."""

    hidden: List[Count]
    dropout: Share
    output: Literal["softmax", "logits"]
    optimizer: str
    learning_rate: Rate
    decay: Literal["cosine", "none"]
    batch_size: Count
    epochs: Count
    seed: Seed
    patience: Count
    label_smoothing: Share
    class_weights: Literal["none", "balanced"]

    @field_validator("optimizer")
    @classmethod
    def known(cls, name):
        """Refuse names that Keras' optimizers do not have."""
        return names.one_of(name, names.optimizers())


class Tail(Group):
    """The training of what lies behind the cut."""

    learning_rate: Rate
    warm_up: Share
    batch_size: Count
    epochs: Annotated[int, Field(ge=0)]
    batch_norm: Literal["train", "inference"]


class Fuse(Group):
    """The fused model."""

    output: Annotated[str, AfterValidator(_model)]


class Evaluate(Group):
    """What the result must reach."""

    accuracy_floor: Optional[Annotated[float, Field(ge=0, le=1)]]


class Params(Group):
    """All of params.yaml."""

    data: Data
    resize: Resize
    backbone: Backbone
    extract: Extract
    train: Train
    tail: Tail
    fuse: Fuse
    evaluate: Evaluate


class Convnet(Group):
    """The ConvNet from scratch."""

    side: Side
    flip: bool
    shift: Share
    zoom: Share
    learning_rate: Rate
    batch_size: Count
    epochs: Count
    seed: Seed
    patience: Count


class Compare(Group):
    """All of compare/params.yaml."""

    convnet: Convnet


def read(model=Params, folder=""):
    """Return the checked parameters of the working tree.

    Args:
        model: of all parameters of one pipeline.
        folder: in which this pipeline lies; the repository's by default.

    Raises:
        ParameterError: naming the key, what is wrong and what is allowed.
    """
    path = os.path.join(folder, "params.yaml")
    return checked.parse(model, checked.read(path), path)
