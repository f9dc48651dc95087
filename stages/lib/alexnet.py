#!/usr/bin/env python3
"""AlexNet's convolutions, and its weights from torchvision.

Usage: python -m stages.lib.alexnet STATE_DICT WEIGHTS.h5

Turns a state dict of torchvision's `alexnet` (.safetensors, or .npz with the
same names) into weights for this module.  The network is that of Krizhevsky,
One weird trick for parallelizing convolutional neural networks (2014), in
torchvision's layout of layers.
"""
import sys

import numpy as np

from stages.lib.errors import WeightsError
from stages.lib.runtime import keras
from stages.lib.stage import run

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
        weights: None; bring them as a file.
        input_shape: (height, width, 3), 63 pixels at least.
        pooling: "avg" or "max", of the last map.

    Returns:
        keras.Model, float32 (n, h, w, 3), scaled -> float32 (n, 256).

    Raises:
        ValueError: other weights or a top are demanded, or the side is too
            small.
    """
    if include_top or weights:
        raise ValueError("AlexNet has no top and no weights of Keras' own; "
                         "bring torchvision's as a file")
    if min(input_shape[:2]) < 63:
        raise ValueError(f"input size must be at least 63x63, not "
                         f"{input_shape[0]}x{input_shape[1]}")
    given = tensor = keras.Input(input_shape)
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
    return keras.Model(given, final(name="pool")(tensor), name="alexnet")


def preprocess_input(x):
    """Return pixels 0..255 as torchvision's AlexNet was trained with them.

    Scaled to 0..1, then normalised by ImageNet's mean and deviation.
    """
    return keras.applications.imagenet_utils.preprocess_input(x, mode="torch")


def convert(state, path):
    """Write the weights in `state` to `path`, for AlexNet above.

    Args:
        state: torchvision's names ("features.0.weight", …) -> arrays, kernels
            in the order (out, in, height, width).

    Raises:
        WeightsError: an array is missing, or of another shape.
    """
    model = AlexNet(input_shape=(224, 224, 3))
    for number, *_ in LAYERS:
        layer = model.get_layer(f"features_{number}")
        arrays = []
        for kind, old in zip(("weight", "bias"), layer.get_weights()):
            name = f"features.{number}.{kind}"
            if name not in state:
                raise WeightsError(f"{name} is not in the state dict; it must "
                                   "be that of torchvision's alexnet")
            array = np.asarray(state[name], dtype="float32")
            if kind == "weight" and array.ndim == 4:
                array = array.transpose(2, 3, 1, 0)
            if array.shape != old.shape:
                raise WeightsError(f"{name}: shape {array.shape}, AlexNet's "
                                   f"is {old.shape}")
            arrays.append(array)
        layer.set_weights(arrays)
    model.save_weights(path)


def main():
    """Convert the file given as first argument to the second."""
    if len(sys.argv) != 3:
        raise WeightsError(__doc__.split("\n\n")[1])
    source, target = sys.argv[1:]
    try:
        if source.endswith(".safetensors"):
            from safetensors.numpy import load_file
            state = load_file(source)
        else:
            with np.load(source, allow_pickle=False) as file:
                state = dict(file)
    except ImportError as error:
        raise WeightsError("reading .safetensors needs the package "
                           "safetensors: pip install safetensors, or bring an "
                           ".npz") from error
    except Exception as error:    # a damaged file raises anything
        raise WeightsError(f"{source}: no state dict can be read from it "
                           f"({' '.join(str(error).split())})") from error
    convert(state, target)


if __name__ == "__main__":
    run(main)
