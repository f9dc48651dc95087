#!/usr/bin/env python3
"""The fused model: raw pixels -> rescale -> scaling -> backbone -> head.

With views, all views of the images go through backbone and head as one batch.
"""
from stages.lib.backbone import backbone
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import view_layers
from stages.lib.images import rescaling
from stages.lib.params import names


def build(base, application, trained, shape, resize, scaling="model",
          views=(names.IDENTITY,)):
    """Return the fused model, a flat keras.Model.

    Args:
        base: what `backbone.build` returned for `application`; its tail gets
            the trained weights.
        application: as in `params.Backbone`.
        trained: the head, or the tail and the head.
        shape: of a raw image, (h, w, 3), or (None, None, 3).
        resize: `params.Resize`.
        scaling: as in `params.Backbone`.
        views: as in `params.Fuse`.

    Returns:
        keras.Model, float32 (n, *shape), 0..255 -> (n, classes).
    """
    ours = {layer.name for layer in base.layers[1:]}
    pixels = keras.Input(shape, name="pixels")
    for layer in trained.layers[1:]:
        if layer.name in ours:
            base.get_layer(layer.name).set_weights(layer.get_weights())
    rescaled = rescaling.rescale_layer(**resize.model_dump())(pixels)
    if len(views) > 1:
        rescaled = view_layers.show_layer(views=list(views))(rescaled)
    tensor = backbone.features(base, application, rescaled, scaling)
    for layer in trained.layers[1:]:
        if names.HEAD.fullmatch(layer.name):
            tensor = layer(tensor)
    if len(views) > 1:
        tensor = view_layers.average_layer(count=len(views))(tensor)
    return keras.Model(pixels, tensor, name="fused")
