#!/usr/bin/env python3
"""Cuts: where a backbone can be divided into a frozen part and a tail."""
import numpy as np

from stages.lib.backbone import graph
from stages.lib.common import errors
from stages.lib.common.keras_runtime import tf

TOP = "top"


def valid(model):
    """Return the layers after which the model can be cut, in order.

    Their output is the only tensor that later layers use.  The last one is
    the output of the model.
    """
    every, uses = graph.nodes(model), {}
    for tensor in [*model.outputs, *(tensor for node in every if not
                                     node.is_input
                                     for tensor in node.keras_inputs)]:
        uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    alive, found = set(), []
    for node in every:
        if not node.is_input:
            for tensor in node.keras_inputs:
                uses[id(tensor)] -= 1
        made = {id(tensor) for tensor in tf.nest.flatten(node.outputs)}
        alive = {tensor for tensor in alive | made if uses.get(tensor)}
        if alive == made and not node.is_input:
            found.append(node.layer)
    return found


def resolve(model, cut):
    """Return the name of the last frozen layer, or "top" for all.

    Args:
        model: the backbone, pooled.
        cut: "top", a layer's name, its index in `model.layers`, or "first N":
            N layers are frozen.

    Raises:
        CutError: there is no such layer, or more than one tensor would have
            to be cached; names the nearest cuts before and after.
    """
    layers = model.layers
    names = [layer.name for layer in layers]
    text = str(cut)
    if text == TOP:
        return TOP
    if text in names:
        index = names.index(text)
    elif isinstance(cut, int):
        index = cut
    elif text.startswith("first ") and text[6:].strip().isdecimal():
        index = int(text[6:]) - 1
    else:
        raise errors.CutError(
            f"params.yaml: backbone.cut: unknown layer {text!r}; write top, a "
            "layer's name, its index, or first N; `make cuts` lists them")
    good = [names.index(layer.name) for layer in valid(model)]
    if index == good[-1]:
        return TOP
    if index in good:
        return names[index]
    before = [names[k] for k in good if k < index][-1:]
    after = [names[k] for k in good if k > index][:1]
    shown = names[index] if 0 <= index < len(names) else "no layer"
    raise errors.CutError(
        f"params.yaml: backbone.cut: {text} ({shown}) is not a valid cut: "
        "more than one tensor leaves it, or it is the input; nearest are "
        f"{' and '.join(before + after)}")


def multiply_adds(layers):
    """Return the multiply-adds of `layers` for one image.

    A kernel (two dimensions or more) is applied once at each position of its
    layer's output.
    """
    total = 0
    for layer in layers:
        if hasattr(layer, "layers"):    # ConvNeXt's stem
            total += multiply_adds(layer.layers)
            continue
        kernels = sum(weight.size for weight in layer.get_weights()
                      if weight.ndim > 1)
        if kernels:
            total += kernels * int(np.prod(layer.output_shape[1:-1]))
    return total
