#!/usr/bin/env python3
"""Any saved Keras model as backbone: one image in, a map or a vector out.

A file `.h5` or `.keras`, or the folder of a SavedModel that Keras wrote.
"""
import collections
import glob
import json
import os
import zipfile

import h5py

from stages.lib.backbone import graph, weights
from stages.lib.common import errors, model_seal, stock_layers
from stages.lib.common.keras_runtime import keras
from stages.lib.params import names

# Of layers that later stages add, beside those of the head.
TAKEN = ("pixels", "rescale", "layers")
PREFIX = "pooled_"
KERAS_FILES = ("saved_model.pb", "keras_metadata.pb")    # of a SavedModel


def files_of(application):
    """Return the paths of the files of a saved model; [] for other names."""
    if not names.is_saved_model(application):
        return []
    if not os.path.isdir(application):
        return [application]
    return sorted(filter(os.path.isfile, glob.glob(
        os.path.join(application, "**", "*"), recursive=True)))


def load(backbone, side):
    """Return the saved model, pooled, as `backbone.build` does.

    Args:
        backbone: `params.Backbone`; its application is the path.
        side: height and width of its input in pixels.

    Returns:
        keras.Model, float32 (n, side, side, 3) -> float32 (n, d).

    Raises:
        BackboneError: it cannot be read, has layers that are not stock
            layers of Keras, or does not fit; names what.
        WeightsError: not all of its weights are finite.
        ArtefactError: `save_model` wrote it, and it is damaged.
    """
    path = backbone.application
    _check_layers(path, _configuration(path), backbone.trust)
    if path.endswith(".h5"):
        model_seal.check(path)
    try:
        model = keras.models.load_model(path, compile=False, **(
            {"safe_mode": not backbone.trust} if path.endswith(".keras")
            else {}))
    except Exception as error:    # Keras raises whatever its parts raise
        raise _error(path, "Keras 2.15 cannot load it "
                     f"({weights.one_line(error)[:200]}); save it with "
                     "Keras 2.15") from error
    model = _at_side(path, model, side)
    _check_output(path, model)
    weights.check_finite(path, model)
    if len(model.output_shape) == 2:
        return keras.Model(model.input, model.output, name="saved")
    pool = (keras.layers.GlobalMaxPooling2D if backbone.pooling == "max"
            else keras.layers.GlobalAveragePooling2D)
    return keras.Model(model.input, pool(name="pooled_top")(model.output),
                       name="saved")


def _error(path, text):
    """Return the BackboneError of a saved model."""
    return errors.BackboneError(f"{path}: {text}")


def _configuration(path):
    """Return a model's configuration, as plain JSON; Keras does not see it.

    Raises:
        BackboneError: there is none.
    """
    try:
        if os.path.isdir(path):
            return _metadata(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise _error(path, "contains weights only; save the whole "
                             "model (model.save), or name its application "
                             "and set backbone.weights to this file")
            return json.loads(file.attrs["model_config"])
    except FileNotFoundError as error:
        raise _error(path, "no such file; backbone.application is a name, or "
                     "the path of a saved Keras model") from error
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _error(path, "no saved Keras model can be read from it "
                     f"({weights.one_line(error)[:100]})") from error


def _metadata(path):
    """Return the configurations of the layers of a SavedModel.

    Raises:
        BackboneError: Keras did not write it.
        ValueError: it cannot be parsed.
    """
    from google.protobuf.message import DecodeError
    from keras.protobuf import saved_metadata_pb2
    if not all(os.path.isfile(os.path.join(path, name))
               for name in KERAS_FILES):
        raise _error(path, "a folder without "
                     f"{' and '.join(KERAS_FILES)}: no SavedModel that Keras "
                     "wrote; save the model as .h5 or .keras")
    found = saved_metadata_pb2.SavedMetadata()
    with open(os.path.join(path, KERAS_FILES[1]), "rb") as file:
        try:
            found.ParseFromString(file.read())
        except DecodeError as error:
            raise ValueError("damaged metadata") from error
    nodes = [json.loads(node.metadata) for node in found.nodes
             if node.identifier != "_tf_keras_metric"]
    return [{"class_name": node["class_name"],
             "config": {"name": node.get("name"), **node.get("config", {})}}
            for node in nodes if "class_name" in node]


def _check_layers(path, config, trust):
    """Refuse what is not a stock layer, and Lambda layers unless trusted.

    Raises:
        BackboneError: names the first such layer.
    """
    for found in stock_layers.objects(config):
        reason = stock_layers.foreign(found)
        if reason and reason.endswith("is a Lambda"):
            if trust:
                continue
            raise _error(path, f"{reason}: Python bytecode from the file; if "
                         "you trust where it comes from, set backbone.trust "
                         "to true")
        if reason:
            raise _error(path, f"{reason}, not a stock layer of Keras; build "
                         "the model from stock layers and save it again")


def _at_side(path, model, side):
    """Return `model` as a functional model of one input of fixed side.

    Raises:
        BackboneError: it has not one image as input, or another side.
    """
    shapes = [tensor.shape for tensor in model.inputs or []]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise _error(path, "must have one input, images (n, h, w, 3); it has "
                     f"{[tuple(shape) for shape in shapes] or 'none yet'}")
    fixed = set(shapes[0][1:3]) - {None, side}
    if fixed:
        raise _error(path, f"its images have {shapes[0][1]} x {shapes[0][2]} "
                     f"px, resize.side is {side}; set resize.side to "
                     f"{fixed.pop()}")
    pixels = keras.Input((side, side, 3), name=model.inputs[0].name)
    pairs, calls = [], collections.Counter()

    def call(layer, words, named):
        """Return the output of a copy of `layer`, one for each call of it."""
        pairs.append((layer, _copy(layer, calls[id(layer)])))
        calls[id(layer)] += 1
        return pairs[-1][1](*words, **named)

    try:
        flat = keras.Model(pixels, graph.rebuild(model, pixels, call))
    except (ValueError, TypeError) as error:
        raise _error(path, f"cannot be built for images of {side} px: "
                     f"{weights.one_line(error)[:200]}") from error
    graph.set_weights(pairs)
    return flat


def _copy(layer, number):
    """Return a layer of its own that computes the same; without weights.

    A layer that is called several times is as many layers here, so that each
    has one output; `number` counts from 0.
    """
    name = f"{layer.name}_call_{number}" if number else layer.name
    if isinstance(layer, keras.layers.Lambda):    # runs no bytecode again
        return keras.layers.Lambda(layer.function, name=name,
                                   arguments=layer.arguments)
    return type(layer).from_config({**layer.get_config(), "name": name})


def _check_output(path, model):
    """Refuse a model whose outputs cannot be features, or joined with ours.

    Raises:
        BackboneError: names the layer, or the shape.
    """
    outputs = [tensor.shape for tensor in model.outputs]
    if len(outputs) != 1 or len(outputs[0]) not in (2, 4):
        raise _error(path, "must have one output, a map (n, h, w, c) or a "
                     "vector (n, d); it has "
                     f"{[tuple(shape) for shape in outputs]}")
    for layer in model._flatten_layers(include_self=False):
        name = layer.name
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if layer.compute_dtype != "float32":
            raise _error(path, f"the layer {name!r} computes in "
                         f"{layer.compute_dtype}; save the model in float32")
        if (name in TAKEN or name.startswith(PREFIX)
                or names.HEAD.fullmatch(name)):
            raise _error(path, f"the pipeline has a layer {name!r}, too; "
                         "rename it and save the model again")
