#!/usr/bin/env python3
"""AlexNet without its classifier: Keras has no such application.

The network is that of Krizhevsky, One weird trick for parallelizing
convolutional neural networks (2014), in torchvision's layout of layers.
`commands/convert_alexnet.py` converts torchvision's weights.
"""
from stages.lib.common.keras_runtime import keras

# Number in torchvision's `features`, filters, kernel, stride, padding, and
# whether a pooling follows.
LAYERS = [(0, 64, 11, 4, 2, True), (3, 192, 5, 1, 2, True),
          (6, 384, 3, 1, 1, False), (8, 256, 3, 1, 1, False),
          (10, 256, 3, 1, 1, True)]


def AlexNet(include_top=False, weights=None, input_shape=None,
            pooling="avg"):
    """Return AlexNet up to its last convolution block, pooled.

    Args:
        include_top: False; there is no classifier here.
        weights: None; use a file.
        input_shape: (height, width, 3), 63 pixels at least.
        pooling: "avg" or "max", of the last map.

    Returns:
        keras.Model, float32 (n, h, w, 3), scaled -> float32 (n, 256).

    Raises:
        ValueError: weights or a top are requested, or the side is too small.
    """
    if include_top or weights:
        raise ValueError("AlexNet has no top and no weights in Keras; "
                         "convert torchvision's weights")
    if min(input_shape[:2]) < 63:
        raise ValueError(f"input size must be at least 63x63, not "
                         f"{input_shape[0]}x{input_shape[1]}")
    inputs = tensor = keras.Input(input_shape)
    for number, filters, kernel, stride, padding, pooled in LAYERS:
        tensor = keras.layers.ZeroPadding2D(
            padding, name=f"features_{number}_pad")(tensor)
        tensor = keras.layers.Conv2D(filters, kernel, stride,
                                     name=f"features_{number}")(tensor)
        tensor = keras.layers.ReLU(name=f"features_{number}_relu")(tensor)
        if pooled:
            tensor = keras.layers.MaxPooling2D(
                3, 2, name=f"features_{number}_pool")(tensor)
    final = (keras.layers.GlobalAveragePooling2D if pooling == "avg"
             else keras.layers.GlobalMaxPooling2D)
    return keras.Model(inputs, final(name="pool")(tensor), name="alexnet")


def preprocess_input(x):
    """Return pixels 0..255 as torchvision's AlexNet was trained with them.

    Scaled to 0..1, then normalised by ImageNet's mean and deviation.
    """
    return keras.applications.imagenet_utils.preprocess_input(x, mode="torch")
