#!/usr/bin/env python3
"""The fused model: raw pixels -> rescale -> scaling -> backbone -> head."""
from stages.lib.backbone import backbone
from stages.lib.common.keras_runtime import keras
from stages.lib.images import rescaling
from stages.lib.params import names


def build(base, application, trained, shape, resize, scaling="model"):
    """Return the fused model, a flat keras.Model.

    Args:
        base: what `backbone.build` returned for `application`; its tail gets
            the trained weights.
        application: as in `params.Backbone`.
        trained: the head, or the tail and the head.
        shape: of a raw image, (h, w, 3), or (None, None, 3).
        resize: `params.Resize`.
        scaling: as in `params.Backbone`.

    Returns:
        keras.Model, float32 (n, *shape), 0..255 -> (n, classes).
    """
    ours = {layer.name for layer in base.layers[1:]}
    pixels = keras.Input(shape, name="pixels")
    for layer in trained.layers[1:]:
        if layer.name in ours:
            base.get_layer(layer.name).set_weights(layer.get_weights())
    rescaled = rescaling.rescale_layer(**resize.model_dump())(pixels)
    tensor = backbone.features(base, application, rescaled, scaling)
    for layer in trained.layers[1:]:
        if names.HEAD.fullmatch(layer.name):
            tensor = layer(tensor)
    return keras.Model(pixels, tensor, name="fused")
