#!/usr/bin/env python3
"""List every cut of the backbone in params.yaml.

Usage: python -m stages.lib.cut_table

Its map, what that takes on disk for the prepared data set, and the work that
is left to training.
"""
import numpy as np

from stages.lib import arrays, backbone, cuts, files, params
from stages.lib.runtime import keras, start
from stages.lib.stage import run


def table(model, dtype, rows):
    """Yield what is to be said of each cut of `model`.

    Index, layer, shape of the map, bytes a row in `dtype`, bytes of `rows`
    rows, multiply-adds an image that are left to the tail.
    """
    layers = model.layers
    whole = cuts.multiply_adds(layers)
    for layer in cuts.valid(model):
        upto = keras.Model(model.input, layer.get_output_at(0))
        shape = upto.output_shape[1:]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        yield (layers.index(layer), layer.name, shape, size, size * rows,
               whole - cuts.multiply_adds(upto.layers))


def main():
    """Print the table of the backbone in params.yaml."""
    given = params.read()
    start(seed=0)
    model = backbone.build(given.backbone, given.resize.side)
    count = {split: len(arrays.open_array(f"data/prepared/{split}_y.npy"))
             for split in files.SPLITS}
    rows = sum(count.values()) + count["train"] * (
        len(given.extract.views) - 1)
    print(f"{'index':>5} {'last frozen layer':34} {'map':>16} {'an image':>9} "
          f"{rows:>9,} rows {'multiply-adds left':>19}")
    for index, name, shape, size, disk, left in table(
            model, given.extract.dtype, rows):
        print(f"{index:5} {name:34} {'x'.join(map(str, shape)):>16} "
              f"{files.amount(size):>9} {files.amount(disk):>14} {left:19,}")


if __name__ == "__main__":
    run(main)
