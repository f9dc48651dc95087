#!/usr/bin/env python3
"""The groups of params.yaml: their keys, types and ranges."""
import os
from typing import Annotated, Dict, List, Literal, Optional, Union

from pydantic import (AfterValidator, BaseModel, ConfigDict, Field,
                      field_validator, model_validator)

from stages.lib.common import environment, files, yaml_models
from stages.lib.params import names

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=8, le=1024)]
Count = Annotated[int, Field(ge=1)]


def _check_path(path):
    """Return `path` unless it is relative and outside the repository.

    Queued experiments run in folders of their own, where it is not found.
    """
    if not os.path.isabs(path) and os.path.relpath(path).startswith(".."):
        raise ValueError(f"{path} is outside the repository; write its "
                         f"absolute path: {os.path.abspath(path)}")
    return path


def _model_path(path):
    """Return `path` if it is an .h5 file in the repository."""
    if os.path.isabs(path) or os.path.normpath(path).startswith(".."):
        raise ValueError(f"{path} is outside the repository; write a path "
                         "relative to params.yaml")
    if not path.endswith(".h5"):
        raise ValueError(f"{path} does not end with .h5")
    if path != os.path.normpath(path):    # DVC would write it otherwise
        raise ValueError(f"write {path} as {os.path.normpath(path)}")
    if path in (files.HEAD, files.CANDIDATE):
        raise ValueError(f"{path} is a file of the pipeline; write another")
    return path


def _check_views(views):
    """Return `views` if they are known and begin with identity."""
    for view in views:
        names.view_parts(view)
    if views[:1] != [names.IDENTITY] or len(set(views)) < len(views):
        raise ValueError(f"must begin with {names.IDENTITY}, and name each "
                         f"view once, not {views}")
    return views


Path = Annotated[str, AfterValidator(_check_path)]
Views = Annotated[List[str], AfterValidator(_check_views)]


class Group(BaseModel):
    """A group of keys: unknown keys are refused, types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Group):
    """The columns of a table of images."""

    image: Optional[str]
    label: Optional[str]
    split: Optional[str]


class Data(Group):
    """The data source, and the splits that are carved from train."""

    source: Path
    columns: Columns
    validation_fraction: Fraction
    test_fraction: Fraction
    max_refused_fraction: Share
    max_megapixels: Rate
    seed: Seed


class Resize(Group):
    """The size of the images that the backbone sees."""

    side: Side
    mode: Literal["stretch", "crop", "pad"]
    antialias: bool


class Backbone(Group):
    """The frozen part."""

    application: str
    options: Dict[str, Union[bool, int, float, str]]
    weights: Path
    pooling: Literal["avg", "max"]
    scaling: Literal["model", "tf", "caffe", "torch"] = "model"
    cut: Union[int, str]
    trust: bool = False

    @field_validator("application")
    @classmethod
    def check_application(cls, name):
        """Refuse names that are no application, and no path of a model."""
        if names.is_saved_model(name):
            return _check_path(name)
        return names.one_of(name, names.APPLICATIONS)

    @model_validator(mode="after")
    def check_options(self):
        """Refuse options that the application does not take."""
        taken = names.options(self.application)
        for name in self.options:
            if name not in taken:
                raise ValueError(
                    f"{self.application} takes no option {name!r} (it takes: "
                    f"{', '.join(taken) or 'none'}); remove it from "
                    "backbone.options")
        return self


class Extract(Group):
    """How features are computed and stored."""

    engine: Literal["tflite", "openvino", "tensorflow"]
    dtype: Literal["float32", "float16"]
    views: Views
    layers: Annotated[List[Union[int, str]], Field(min_length=1)]

    @field_validator("engine")
    @classmethod
    def check_engine(cls, engine):
        """Refuse an engine that is not installed."""
        if engine == "openvino" and not environment.has("openvino"):
            raise ValueError(
                "openvino is not installed; install the extra openvino: "
                "python -m pip install --no-deps openvino==2025.3.0; or set "
                "extract.engine to tflite")
        return engine


class Train(Group):
    """The head and its training."""

    solver: Literal["gradient", "ridge", "logistic"]
    penalties: Annotated[List[Rate], Field(min_length=1)]
    refit: bool
    hidden: List[Count]
    input_dropout: Share
    dropout: Share
    output: Literal["softmax", "logits"]
    optimizer: str
    learning_rate: Rate
    weight_decay: Optional[Annotated[float, Field(ge=0, lt=1)]]
    decay: Literal["cosine", "none"]
    batch_size: Count
    epochs: Count
    seed: Seed
    patience: Count
    label_smoothing: Share
    class_weights: Literal["none", "balanced"]

    @field_validator("optimizer")
    @classmethod
    def check_optimizer(cls, name):
        """Refuse names that are not optimizers of Keras."""
        return names.one_of(name, names.OPTIMIZERS)

    @model_validator(mode="after")
    def check_refit(self):
        """Refuse to refit a head whose epoch validation selects."""
        if self.refit and self.solver == "gradient":
            raise ValueError("refit needs the solver ridge or logistic, not "
                             "gradient, whose epoch validation selects")
        return self


class Tail(Group):
    """The training of the layers behind the cut."""

    learning_rate: Rate
    warm_up: Share
    batch_size: Count
    epochs: Annotated[int, Field(ge=0)]
    batch_norm: Literal["train", "inference"]


class Fuse(Group):
    """The fused model."""

    output: Annotated[str, AfterValidator(_model_path)]
    views: Views


class Export(Group):
    """Files of the fused model for other programs."""

    formats: List[Literal["h5", "savedmodel", "tflite", "onnx"]]

    @field_validator("formats")
    @classmethod
    def check_formats(cls, formats):
        """Refuse a format that is named twice, or cannot be had here."""
        if len(set(formats)) < len(formats):
            raise ValueError(f"must name each format once, not {formats}")
        if "onnx" in formats and not os.access(
                environment.ONNX_PYTHON, os.X_OK):
            raise ValueError(
                "onnx needs an environment of its own, because its converter "
                "needs another protobuf; run `make onnx` once, or remove onnx "
                "from the list")
        return formats


class Evaluate(Group):
    """What is scored, and what it must reach to pass."""

    views: Views
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
    export: Export

    @field_validator("train")
    @classmethod
    def check_solver(cls, train, info):
        """Refuse an exact solver for maps, or for a tail."""
        cut = info.data["backbone"].cut if "backbone" in info.data else "top"
        if train.solver != "gradient" and cut != "top":
            raise ValueError(
                f"the solver {train.solver} fits a head on vectors, and "
                f"trains no tail: set backbone.cut to top, not {cut!r}, or "
                "train.solver to gradient")
        return train

    @field_validator("fuse")
    @classmethod
    def check_mean(cls, fuse, info):
        """Refuse to average outputs that are no probabilities."""
        if (len(fuse.views) > 1 and "train" in info.data
                and info.data["train"].output == "logits"):
            raise ValueError("views averages probabilities: set train.output "
                             "to softmax, or fuse.views to [identity]")
        return fuse

    @field_validator("export")
    @classmethod
    def check_views(cls, export, info):
        """Refuse to export a model that averages views."""
        if (export.formats and "fuse" in info.data
                and len(info.data["fuse"].views) > 1):
            raise ValueError("a model that averages fuse.views cannot be "
                             "exported: set export.formats to [], or "
                             "fuse.views to [identity]")
        return export

    @field_validator("export")
    @classmethod
    def check_rescaling(cls, export, info):
        """Refuse formats that cannot rescale photographs in this way."""
        if not {"data", "resize"} <= set(info.data):
            return export
        source, resize = info.data["data"].source, info.data["resize"]
        wanted = [name for name in export.formats if name != "savedmodel"]
        of_files = os.path.isdir(source) or source.lower().endswith(
            names.TABLES)
        if wanted and of_files and (resize.mode == "pad" or resize.antialias):
            key = "mode pad" if resize.mode == "pad" else "antialias true"
            raise ValueError(
                f"{', '.join(wanted)} cannot rescale photographs with "
                f"resize.{key}, because their sizes differ; remove "
                f"{'it' if len(wanted) == 1 else 'them'} from the list "
                "(savedmodel can; [] exports nothing)")
        return export


def read(model=Params, folder=""):
    """Return the validated parameters of the working tree.

    Args:
        model: `Params`, or `compare.Compare`: all parameters of one pipeline.
        folder: of that pipeline; by default, of the repository.

    Raises:
        ParameterError: names the key, what is wrong and what is allowed.
    """
    path = os.path.join(folder, "params.yaml")
    return yaml_models.parse(model, yaml_models.read(path), path)
