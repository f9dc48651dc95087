#!/usr/bin/env python3
"""Fused models with one fault each: the comparison must refuse all of them."""
import contextlib

import numpy as np
import parts

from stages.lib.backbone import applications
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import fused_model
from stages.lib.images import rescaling

CHANGE = 1.001    # of one weight
SCALED = {"tf": "MobileNet", "torch": "DenseNet121", "caffe": "ResNet50",
          "none": "EfficientNetV2B0"}    # an application for each scaling
KINDS = ("frozen weight", "head weight", "swapped channels", "wrong scaling",
         "wrong side", "nearest", "no activation", "replaced row")


def swapped(images, side, mode="stretch", antialias=False):
    """Return what `rescaling.rescale` does, with blue and red exchanged."""
    from stages.lib.images import rescaling
    return rescaling.rescale(images, side, mode, antialias)[..., ::-1]


def nearest(images, side, mode="stretch", antialias=False):
    """Return images scaled to `side` by the nearest pixel."""
    import tensorflow as tf
    return tf.image.resize(images, (side, side), method="nearest")


@contextlib.contextmanager
def rescaled_by(function):
    """Let fused models rescale by `function`."""
    before = rescaling.rescale_layer
    rescaling.rescale_layer = lambda **arguments: keras.layers.Lambda(
        function, arguments=arguments, name="rescale")
    try:
        yield
    finally:
        rescaling.rescale_layer = before


def without_activation(top):
    """Return `top` with one hidden layer linear, same weights."""
    def clone(layer):
        """Return a layer like `layer`."""
        config = layer.get_config()
        if layer.name == "head_hidden_1":
            config["activation"] = "linear"
        return type(layer).from_config(config)

    model = keras.models.clone_model(top, clone_function=clone)
    model.set_weights(top.get_weights())
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def scaling(application):
    """Return an application whose pixels are scaled in another way."""
    pixels = np.full((1, 1, 1, 3), 200, "float32")
    right, *others = [applications.module(name).preprocess_input(
        pixels.copy()) for name in (application, *SCALED.values())]
    return next(name for name, other in zip(SCALED.values(), others)
                if not np.allclose(other, right))


def fused(base, application, top, shape, resize, kind=None):
    """Return the fused model with the fault `kind`, reloaded from a file.

    Args:
        base, application, top, shape, resize: as `fused_model.build`.
        kind: one of `KINDS`, or None; "replaced row" has no fault here.
    """
    faults = contextlib.ExitStack()
    if kind in ("swapped channels", "nearest"):
        faults.enter_context(rescaled_by(
            nearest if kind == "nearest" else swapped))
    if kind == "wrong scaling":
        application = scaling(application)
    if kind == "wrong side":
        resize = resize.model_copy(update={"side": resize.side + 8})
    if kind == "no activation":
        top = without_activation(top)
    with faults:
        model = parts.through_file(fused_model.build(
            base, application, top, shape, resize))
    if kind in ("frozen weight", "head weight"):
        change_weight(model, kind == "head weight")
    return model


def change_weight(model, of_head):
    """Change the largest weight of one layer by a thousandth.

    Args:
        model: fused.
        of_head: whether the layer is the output layer; else it is the first
            one with a kernel.
    """
    layer = model.layers[-1] if of_head else next(
        layer for layer in model.layers if layer.get_weights()
        and layer.get_weights()[0].ndim == 4)
    kernel, *others = layer.get_weights()
    kernel.flat[np.abs(kernel).argmax()] *= CHANGE
    layer.set_weights([kernel, *others])


def replaced(rows):
    """Return `rows` with the features of one row in place of another's."""
    rows = list(rows)
    rows[len(rows) // 2] = (rows[len(rows) // 2][0], rows[0][1])
    return rows
