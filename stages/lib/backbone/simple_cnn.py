#!/usr/bin/env python3
"""SimpleCNN: a small ConvNet, to be trained from scratch."""
from stages.lib.common.keras_runtime import keras

FILTERS = (32, 64, 128)    # of the blocks; each halves the map


def SimpleCNN(include_top=False, weights=None, input_shape=None,
              pooling="avg"):
    """Return the network without classifier, pooled; arguments as in Keras.

    Two convolutions of 3 x 3 a block, each with batch normalisation.

    Returns:
        keras.Model, float32 (n, h, w, 3), -1..1 -> float32 (n, 128).

    Raises:
        ValueError: a top or weights are requested.
    """
    if include_top or weights:
        raise ValueError("SimpleCNN has no top and no pretrained weights")
    inputs = tensor = keras.Input(input_shape)
    for block, filters in enumerate(FILTERS, start=1):
        for k in (1, 2):
            name = f"block{block}_conv{k}"
            tensor = keras.layers.Conv2D(filters, 3, padding="same",
                                         use_bias=False, name=name)(tensor)
            tensor = keras.layers.BatchNormalization(
                name=f"{name}_bn")(tensor)
            tensor = keras.layers.ReLU(name=f"{name}_relu")(tensor)
        tensor = keras.layers.MaxPooling2D(name=f"block{block}_pool")(tensor)
    final = (keras.layers.GlobalAveragePooling2D if pooling == "avg"
             else keras.layers.GlobalMaxPooling2D)
    return keras.Model(inputs, final(name="pool")(tensor), name="simple_cnn")


def preprocess_input(x):
    """Return pixels 0..255 as -1..1."""
    return keras.applications.imagenet_utils.preprocess_input(x, mode="tf")
