#!/usr/bin/env python3
"""List the cuts of the backbone: map, disk space, work left to training."""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import numpy as np

from stages.lib.backbone import backbone, cuts
from stages.lib.common import (
    arrays, command_line, files, keras_runtime, stage)
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params


def table(model, dtype, rows):
    """Yield a row of the table for each cut of `model`.

    Index, layer, shape of the map, bytes of one row and of `rows` rows in
    `dtype`, multiply-adds of the tail for one image.
    """
    layers = model.layers
    total = cuts.multiply_adds(layers)
    for layer in cuts.valid(model):
        frozen = keras.Model(model.input, layer.get_output_at(0))
        shape = frozen.output_shape[1:]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        yield (layers.index(layer), layer.name, shape, size, size * rows,
               total - cuts.multiply_adds(frozen.layers))


def main():
    """Print the table of the backbone in params.yaml."""
    command_line.Parser(prog="python -m commands.list_cuts",
                        description=__doc__).parse_args()
    given = params.read()
    keras_runtime.reset(seed=0)
    model = backbone.build(given.backbone, given.resize.side)
    count = {split: len(arrays.open_array(f"data/prepared/{split}_y.npy"))
             for split in files.SPLITS}
    rows = sum(count.values()) + count["train"] * (
        len(given.extract.views) - 1)
    print(f"{'index':>5} {'last frozen layer':34} {'map':>16} "
          f"{'per image':>9} {rows:>9,} rows {'multiply-adds left':>19}")
    for index, name, shape, size, disk, left in table(
            model, given.extract.dtype, rows):
        print(f"{index:5} {name:34} {'x'.join(map(str, shape)):>16} "
              f"{files.readable(size):>9} {files.readable(disk):>14} "
              f"{left:19,}")


if __name__ == "__main__":
    stage.run(main)
