#!/usr/bin/env python3
"""`rescaling.rescale` out of stock layers of Keras, without bytecode."""
import numpy as np

from stages.lib.backbone import portable
from stages.lib.common.keras_runtime import keras, tf

NAME = f"{portable.RESCALE}_"    # begins the names of the layers
LARGE = 12582912    # 1.5 * 2**23: a float32 of this size has no fraction


def build(pixels, given):
    """Return what `rescaling.rescale` makes of `pixels`, symbolic.

    Photographs, whose sizes differ, are stretched or cropped only: params.py
    refuses the rest.

    Args:
        pixels: symbolic float32 (n, h, w, 3), 0..255.
        given: the arguments of `rescale`.
    """
    side, mode, antialias = (given[name] for name in (
        "side", "mode", "antialias"))
    height, width = pixels.shape[1:3]
    crop = mode == "crop"
    if height and mode != "stretch" and height != width:
        pixels, crop = _square(pixels, mode), False
    if antialias:
        tensor = _antialiased(pixels, side)
    else:
        tensor = keras.layers.Resizing(
            side, side, "bilinear", crop_to_aspect_ratio=crop,
            name=f"{NAME}bilinear")(pixels)
    return _rounded(tensor)


def _square(pixels, mode):
    """Return `pixels` of a fixed size, cropped or padded to a square."""
    height, width = pixels.shape[1:3]
    square = (min if mode == "crop" else max)(height, width)
    layer = (keras.layers.Cropping2D if mode == "crop"
             else keras.layers.ZeroPadding2D)
    first = [abs(length - square) // 2 for length in (height, width)]
    return layer([(before, abs(length - square) - before) for before, length
                  in zip(first, (height, width))], name=NAME + mode)(pixels)


def _antialiased(pixels, side):
    """Return `pixels` of a fixed size, scaled by two fixed matrices.

    Antialiased scaling is linear, and each axis is scaled for itself.
    """
    turn = (2, 3, 1)    # three of them bring all axes back
    tensor = pixels
    for axis in ("height", "width"):
        length = tensor.shape[1]
        matrix = tf.image.resize(np.eye(length, dtype="float32")[..., None],
                                 (side, length), antialias=True)[..., 0]
        dense = keras.layers.Dense(side, use_bias=False, trainable=False,
                                   name=NAME + axis)
        tensor = dense(keras.layers.Permute(
            turn, name=f"{NAME}turn_{axis}")(tensor))
        dense.set_weights([np.transpose(matrix)])
    return keras.layers.Permute(turn, name=f"{NAME}turn")(tensor)


def _rounded(tensor):
    """Return `tensor`, 0 or more, rounded half to even, as `tf.round` does.

    A float32 as large as `LARGE` has no fraction: the sum is rounded.  Both
    ReLU change nothing, but converters join neighbouring constants: the two
    here, and the second with the kernel of a convolution without padding.
    """
    tensor = keras.layers.Rescaling(1.0, LARGE, name=f"{NAME}up")(tensor)
    tensor = keras.layers.ReLU(name=f"{NAME}round")(tensor)
    tensor = keras.layers.Rescaling(1.0, -LARGE, name=f"{NAME}down")(tensor)
    return keras.layers.ReLU(name=portable.RESCALE)(tensor)
