#!/usr/bin/env python3
"""Scale images to the backbone's side, in the cache and in the model alike."""
import builtins
import types

from stages.lib.runtime import keras


def rescale(images, side):
    """Scale images to (side, side), rounded to whole grey levels.

    Bilinear, without antialiasing.  Rounded, so that what `resize` stores as
    uint8 and what the fused model computes are the same pixels.  The body
    needs nothing from outside: its bytecode travels in the `.h5` file.

    Args:
        images: (n, h, w, 3), any numeric dtype, 0..255.
        side: pixels, 1 or more.

    Returns:
        float32 tensor of shape (n, side, side, 3), whole values 0..255.
    """
    import tensorflow as tf
    return tf.round(tf.image.resize(images, (side, side), method="bilinear",
                                    antialias=False))


def rescale_layer(side):
    """Return `rescale` as a Lambda layer.

    The file name and line in the bytecode are made constants, or else the
    path of this clone would be in the model's bytes.  Without a module name,
    Keras loads the layer in a fresh process and does not warn.
    """
    code = rescale.__code__.replace(co_filename="rescale", co_firstlineno=1)
    function = types.FunctionType(code, {"__builtins__": builtins}, "rescale")
    function.__module__ = None
    return keras.layers.Lambda(function, arguments={"side": side},
                               name="rescale")
