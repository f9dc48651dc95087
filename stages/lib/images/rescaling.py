#!/usr/bin/env python3
"""Scale images to the side of the backbone, for `resize` and in the model.

The docstring of `rescale` is part of the bytes of every fused model.
"""
import builtins
import types

from stages.lib.common.keras_runtime import keras


def rescale(images, side, mode="stretch", antialias=False):
    """Scale images to (side, side), rounded to whole grey levels.

    Bilinear.  Rounded, so that what `resize` stores as uint8 and what the
    fused model computes are the same pixels.  The body needs nothing from
    outside: its bytecode travels in the `.h5` file.

    Args:
        images: (n, h, w, 3), any numeric dtype, 0..255.
        side: pixels, 1 or more.
        mode: "stretch", "crop" (the central square) or "pad" (black, to a
            square); the same for images that are square.
        antialias: when shrinking, let every pixel count.

    Returns:
        float32 tensor of shape (n, side, side, 3), whole values 0..255.
    """
    import tensorflow as tf
    if mode != "stretch":
        height, width = tf.unstack(tf.shape(images)[1:3])
        square = (tf.minimum if mode == "crop" else tf.maximum)(height, width)
        top, left = abs(height - square) // 2, abs(width - square) // 2
        if mode == "crop":
            images = images[:, top:top + square, left:left + square]
        else:
            images = tf.pad(images, [
                [0, 0], [top, square - height - top],
                [left, square - width - left], [0, 0]])
            images = tf.ensure_shape(images, (None, None, None, 3))
    return tf.round(tf.image.resize(images, (side, side), method="bilinear",
                                    antialias=antialias))


def rescale_layer(**arguments):
    """Return `rescale` with these `arguments` as a Lambda layer."""
    return bytecode_layer(rescale, "rescale", arguments)


def bytecode_layer(function, name, arguments):
    """Return a Lambda layer that contains the bytecode of a function.

    File name and line number in the bytecode are constants, so that the bytes
    of the model do not depend on the path of the project.  Without a module
    name, Keras loads the layer in a fresh process without a warning.

    Args:
        function: needs nothing from outside, and contains no function.
        name: of the layer.
        arguments: of the function, behind its first.
    """
    code = function.__code__.replace(co_filename=function.__name__,
                                     co_firstlineno=1)
    function = types.FunctionType(code, {"__builtins__": builtins},
                                  function.__name__, function.__defaults__)
    function.__module__ = None
    return keras.layers.Lambda(function, arguments=arguments, name=name)
