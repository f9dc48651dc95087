#!/usr/bin/env python3
"""Convert torchvision's AlexNet weights for `backbone.weights`."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import numpy as np

from stages.lib.backbone import alexnet
from stages.lib.common import command_line, errors, stage

ABOUT = """Convert the state dict of torchvision's alexnet into a file of
weights for backbone.application AlexNet."""


def convert(state, path):
    """Write the weights in `state` to `path`, for `alexnet.AlexNet`.

    Args:
        state: torchvision's names ("features.0.weight", …) -> arrays, kernels
            of shape (out, in, height, width).

    Raises:
        WeightsError: an array is missing, or has another shape.
    """
    model = alexnet.AlexNet(input_shape=(224, 224, 3))
    for number, *_ in alexnet.LAYERS:
        layer = model.get_layer(f"features_{number}")
        arrays = []
        for kind, old in zip(("weight", "bias"), layer.get_weights()):
            name = f"features.{number}.{kind}"
            if name not in state:
                raise errors.WeightsError(
                    f"{name} is not in the state dict; use that of "
                    "torchvision's alexnet")
            array = np.asarray(state[name], dtype="float32")
            if kind == "weight" and array.ndim == 4:
                array = array.transpose(2, 3, 1, 0)
            if array.shape != old.shape:
                raise errors.WeightsError(
                    f"{name}: shape {array.shape}, AlexNet's is {old.shape}")
            arrays.append(array)
        layer.set_weights(arrays)
    model.save_weights(path)


def read(path):
    """Return the state dict in the file `path`, name -> array.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        if path.endswith(".safetensors"):
            from safetensors.numpy import load_file
            return load_file(path)
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except ImportError as error:
        raise errors.WeightsError(
            "reading .safetensors needs the package safetensors: pip install "
            "safetensors, or use an .npz file") from error
    except Exception as error:    # a damaged file raises anything
        raise errors.WeightsError(
            f"{path}: no state dict can be read from it "
            f"({' '.join(str(error).split())})") from error


def main():
    """Convert the file given as first argument to the second."""
    parser = command_line.Parser(
        prog="python -m commands.convert_alexnet", description=ABOUT)
    parser.add_argument("state_dict", metavar="STATE_DICT",
                        help=".safetensors or .npz, torchvision's names")
    parser.add_argument("weights", metavar="WEIGHTS.h5",
                        help="the file to write, for backbone.weights")
    given = parser.parse_args()
    convert(read(given.state_dict), given.weights)


if __name__ == "__main__":
    stage.run(main)
