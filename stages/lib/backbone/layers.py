#!/usr/bin/env python3
"""Layers whose pooled outputs are the features, `extract.layers`.

One pass computes every layer anyway; layers in the middle know edges,
textures and parts, which the last one has left behind.
"""
import difflib
from typing import NamedTuple

import numpy as np

from stages.lib.backbone import backbone, cuts
from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras

WORDS = (cuts.TOP, "stages", "all")
GLOBAL = (keras.layers.GlobalAveragePooling2D,
          keras.layers.GlobalMaxPooling2D)
# No work of their own: the layer before them ends the block.
PASSIVE = (keras.layers.ZeroPadding2D, keras.layers.MaxPooling2D,
           keras.layers.AveragePooling2D)
# In NASNet, a cell starts from two earlier ones: it has no cuts.
CELLS = ("normal_concat_", "reduction_concat_")


class Frozen(NamedTuple):
    """The backbone, and its frozen part as `extract` computes it.

    Attributes:
        base: keras.Model, scaled pixels -> features, or all layers if there
            is a cut.
        cut: as `cuts.resolve` returns it.
        extractor: `backbone.extractor`.
        key: the part of the cache key that describes it.
    """

    base: keras.Model
    cut: str
    extractor: keras.Model
    key: dict


def build(given):
    """Return what `extract` computes and `fuse` joins with the head.

    Args:
        given: `params.Params`.

    Raises:
        LayersError: a layer is unknown, or is named although there is a cut.
        PipelineError: as `backbone.build` and `cuts.resolve`.
    """
    base = backbone.build(given.backbone, given.resize.side)
    cut = cuts.resolve(base, given.backbone.cut)
    wanted = given.extract.layers
    if cut != cuts.TOP and set(wanted) <= set(WORDS):
        wanted = [cuts.TOP]    # the map at the cut
    found = resolve(base, wanted)
    if cut != cuts.TOP and found != [cuts.TOP]:
        raise errors.LayersError(
            f"params.yaml: extract.layers: with backbone.cut {cut} only its "
            "map is cached; set extract.layers to [top], or backbone.cut to "
            "top")
    described = columns(base, found)
    base = join(base, found, given.backbone.pooling)
    extractor = backbone.extractor(backbone.frozen(base, cut),
                                   given.backbone.application,
                                   given.backbone.scaling)
    key = backbone.key(extractor, cut, given.backbone)
    if found != [cuts.TOP]:
        key["columns"] = described
    return Frozen(base, cut, extractor, key)


def ends(model):
    """Return the last layer of each block but the last, in order.

    A block begins where one tensor alone enters work on neighbouring pixels,
    a kernel larger than 1 x 1.  What follows belongs to it, 1 x 1 kernels and
    activations, up to the next block; padding and pooling in between do not.
    The last block ends with the output of `model`.
    """
    layers = model.layers
    found = {k for k, layer in enumerate(layers)
             if layer.name.startswith(CELLS)}
    begin, last, newest = 0, None, 0
    for layer in cuts.valid(model):
        end = layers.index(layer)
        if any(map(_looks_around, layers[begin + 1:end + 1])):
            found.add(last)
            last = newest = end
        elif last is not None and not isinstance(layer, PASSIVE):
            last = end
        begin = end
    return [layers[k] for k in sorted(found - {None}) if k < newest]


def stages(model):
    """Return the last of `ends` at each resolution but the last, in order.

    Resolutions are counted in halvings of the input's height, rounded: layers
    without padding lose a few pixels.
    """
    maps = [layer for layer in model.layers if _rank(layer) == 4]
    if not maps:
        return []
    last = {_halvings(model, layer): layer for layer in ends(model)}
    return [layer for halvings, layer in last.items()
            if halvings < _halvings(model, maps[-1])]


def resolve(model, wanted):
    """Return the layers that `wanted` names, each once, in network order.

    Args:
        model: the backbone, pooled.
        wanted: names, indices in `model.layers`, and `WORDS`: top, the pooled
            output of the last layer; stages and all, `stages` and `ends`
            with top.

    Returns:
        Names of layers; the last one may be "top".

    Raises:
        LayersError: there is no such layer, or it has no features; names the
            most similar layer.
    """
    names = [layer.name for layer in model.layers]
    found = set()
    for one in wanted:
        if one in WORDS:
            more = {"stages": stages, "all": ends}.get(one, lambda _: [])
            found |= {len(names) - 1, *map(model.layers.index, more(model))}
        elif one in names or one in range(len(names)):
            found.add(names.index(one) if one in names else one)
        else:
            near = difflib.get_close_matches(str(one), [*WORDS, *names], 1, 0)
            raise errors.LayersError(
                f"params.yaml: extract.layers: unknown layer {one!r}; did "
                f"you mean {near[0]!r}? Write {', '.join(WORDS)}, a layer's "
                "name or its index; `make cuts` lists them")
    last = [_checked(model.layers[k]) for k in sorted(found)]
    final = {names[-1], *names[-2:][:isinstance(model.layers[-1], GLOBAL)]}
    return list(dict.fromkeys(
        cuts.TOP if name in final else name for name in last))


def join(model, found, pooling):
    """Return `model` with the pooled outputs of layers as its output.

    Args:
        model: the backbone, pooled.
        found: as `resolve` returns it.
        pooling: "avg" or "max".

    Returns:
        keras.Model, scaled pixels -> float32 (n, d), the layers' outputs one
        after the other; `model` itself for "top" alone.
    """
    if found == [cuts.TOP]:
        return model
    pool = GLOBAL[pooling == "max"]
    outputs = []
    for name in found:
        tensor = _output(model, name)
        outputs.append(tensor if len(tensor.shape) == 2
                       else pool(name=f"pooled_{name}")(tensor))
    if len(outputs) > 1:
        outputs = keras.layers.Concatenate(name="layers")(outputs)
    return keras.Model(model.input, outputs, name=model.name)


def columns(model, found):
    """Return which columns belong to which layer, for the manifest.

    Args:
        model: the backbone, pooled.
        found: as `resolve` returns it.

    Returns:
        A list of [layer, first column, the column behind its last].
    """
    widths = [_output(model, name).shape[-1] for name in found]
    ends_at = np.cumsum(widths).tolist()
    return [[name, end - width, end]
            for name, width, end in zip(found, widths, ends_at)]


def _output(model, name):
    """Return the output of the layer `name`, or that of `model` for "top"."""
    return (model.output if name == cuts.TOP
            else model.get_layer(name).get_output_at(0))


def _checked(layer):
    """Return the name of `layer` if its output can be features.

    Raises:
        LayersError: it is the input, or neither a map nor a vector.
    """
    if (isinstance(layer, keras.layers.InputLayer)
            or _rank(layer) not in (2, 4)):
        raise errors.LayersError(
            f"params.yaml: extract.layers: {layer.name} gives neither a map "
            "nor a vector; `make cuts` lists the layers")
    return layer.name


def _rank(layer):
    """Return the number of dimensions of a layer's output, 0 for several."""
    shape = layer.output_shape
    return len(shape) if isinstance(shape, tuple) else 0


def _halvings(model, layer):
    """Return how often the input's height was halved up to `layer`."""
    return round(np.log2(model.input_shape[1] / layer.output_shape[1]))


def _looks_around(layer):
    """Return whether a layer has a kernel larger than 1 x 1."""
    return (any(map(_looks_around, getattr(layer, "layers", ())))
            or np.prod(getattr(layer, "kernel_size", 1)) > 1)
