#!/usr/bin/env python3
"""Bring the images to the side of the backbone.

In:  data/prepared/{split}_x.npy  uint8 (n, h, w, 3), 0..255
Out: data/resized/{split}_x.npy   uint8 (n, side, side, 3), 0..255
"""
from stages.lib import arrays, files, params
from stages.lib.batches import batches, progress
from stages.lib.pixels import rescale
from stages.lib.runtime import tf
from stages.lib.stage import run

BATCH = 64


def resize(images, side):
    """Yield `images`, uint8 (n, h, w, 3), batch by batch at `side`, uint8."""
    scaled = batches(images, BATCH).map(
        lambda batch: tf.cast(rescale(batch, side), tf.uint8),
        num_parallel_calls=tf.data.AUTOTUNE)
    return scaled.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def main():
    """Write every split at the backbone's side."""
    side = params.read().resize.side
    for split in files.SPLITS:
        images = arrays.open_array(f"data/prepared/{split}_x.npy", ndim=4)
        shape = (len(images), side, side, 3)
        with arrays.array_writer(f"data/resized/{split}_x.npy", "uint8",
                                 shape) as out, \
                progress(f"resize {split}", len(images)) as bar:
            for batch in resize(images, side):
                out.append(batch)
                bar.update(len(batch))


if __name__ == "__main__":
    run(main)
