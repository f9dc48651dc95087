#!/usr/bin/env python3
"""List the layers of the backbone: what they cost as a cut, or as features.

map, per image, rows: what `extract` caches with backbone.cut at this layer,
and multiply-adds left: the work of training behind it; "-": not a valid cut.
columns: what the layer adds to the features in extract.layers, and which of
the words all, stages and top include it.
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import argparse

import numpy as np

from stages.lib.backbone import backbone, cuts, layers
from stages.lib.common import (
    arrays, command_line, files, keras_runtime, stage)
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params


def table(model, dtype, rows):
    """Yield a row of the table for each cut and each block's end of `model`.

    Index, layer, shape of the map, bytes of one row and of `rows` rows in
    `dtype`, multiply-adds of the tail for one image, these three None if it
    is not a cut; then columns as features, and the words of `extract.layers`.
    """
    every, cut = model.layers, cuts.valid(model)
    words = {word: layers.resolve(model, [word]) for word in (
        "all", "stages", "top")}
    total = cuts.multiply_adds(every)
    for layer in sorted({*cut, *layers.ends(model)}, key=every.index):
        shape, costs = layer.output_shape[1:], (None,) * 3
        if layer in cut:
            frozen = keras.Model(model.input, layer.get_output_at(0))
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            costs = (size, size * rows,
                     total - cuts.multiply_adds(frozen.layers))
        name, = layers.resolve(model, [layer.name])
        yield (every.index(layer), layer.name, shape, *costs, shape[-1],
               [word for word in words if name in words[word]])


def main():
    """Print the table of the backbone in params.yaml."""
    command_line.Parser(
        prog="python -m commands.list_cuts", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    given = params.read()
    keras_runtime.reset(seed=0)
    model = backbone.build(given.backbone, given.resize.side)
    count = {split: len(arrays.open_array(f"data/prepared/{split}_y.npy"))
             for split in files.SPLITS}
    rows = count["train"] * len(given.extract.views) + (
        count["validation"] + count["test"]) * len(given.evaluate.views)
    print(f"{'index':>5} {'layer':34} {'map':>16} "
          f"{'per image':>9} {rows:>9,} rows {'multiply-adds left':>19} "
          f"{'columns':>7} in")
    for index, name, shape, size, disk, left, columns, words in table(
            model, given.extract.dtype, rows):
        costs = ["-"] * 3 if size is None else [
            files.readable(size), files.readable(disk), f"{left:,}"]
        print(f"{index:5} {name:34} {'x'.join(map(str, shape)):>16} "
              f"{costs[0]:>9} {costs[1]:>14} {costs[2]:>19} {columns:7,} "
              + " ".join(words))


if __name__ == "__main__":
    stage.run(main)
