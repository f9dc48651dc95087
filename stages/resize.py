#!/usr/bin/env python3
"""Bring the images to the side of the backbone.

In:  data/prepared/{split}_x.npy  uint8 (n, h, w, 3), 0..255; or without pixels
     data/prepared/{split}.json   then it lists the files in data.source
Out: data/resized/{split}_x.npy   uint8 (n, side, side, 3), 0..255
"""
import functools
import os
import shutil

import numpy as np

from stages.lib import arrays, files, params
from stages.lib.batches import batches, progress
from stages.lib.parallel import ordered
from stages.lib.photographs import decode_jpeg
from stages.lib.pixels import rescale
from stages.lib.prepared import Images
from stages.lib.runtime import tf
from stages.lib.stage import run

BATCH = 64
FILES = 64    # a batch of photographs, decoded in one call of TensorFlow


@functools.lru_cache(maxsize=1)    # traced once for all splits
def scalers(given):
    """Return two functions of TensorFlow that bring images to the side.

    Args:
        given: `params.Resize`.

    Returns:
        one of arrays: uint8 (k, h, w, 3) -> uint8 (k, side, side, 3), and
        one of the bytes of JPEG files: (k,) -> the same.
    """
    def scale(batch):
        """Return the images at the side."""
        return tf.cast(rescale(batch, **given.model_dump()), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def jpegs(batch):
        """Return the pictures in files of different sizes."""
        return tf.map_fn(
            lambda data: scale(decode_jpeg(data)[None])[0], batch,
            fn_output_signature=tf.TensorSpec((given.side, given.side, 3),
                                              tf.uint8))

    return tf.function(scale, [tf.TensorSpec((None, None, None, 3),
                                             tf.uint8)]), jpegs


def resize(images, given):
    """Yield the images batch by batch, uint8 (k, side, side, 3).

    Args:
        images: `prepared.Images`.
        given: `params.Resize`.
    """
    if images.of_files:
        return from_files(images, given)
    scaled = batches(images.array, BATCH).map(
        scalers(given)[0], num_parallel_calls=tf.data.AUTOTUNE)
    return scaled.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def from_files(images, given):
    """Yield photographs batch by batch; see `resize`."""
    scale, jpegs = scalers(given)

    def batch(first):
        """Return the photographs from the row `first` on."""
        rows = np.arange(first, min(first + FILES, len(images)))
        quick = np.array([images.jpeg(row) for row in rows])
        files = [images.read(row) for row in rows[quick]]
        if quick.all():
            return jpegs(files).numpy()
        found = np.empty((len(rows), given.side, given.side, 3), np.uint8)
        if quick.any():
            found[quick] = jpegs(files)
        for k in np.flatnonzero(~quick):
            found[k] = scale(images[rows[k]][None])[0]
        return found

    return ordered(batch, range(0, len(images), FILES))


def main():
    """Write every split at the backbone's side."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"    # a core, an image
    given = params.read()
    side = given.resize.side
    splits = {split: Images(split, given.data.source)
              for split in files.SPLITS}
    need = sum(map(len, splits.values())) * side * side * 3
    files.demand_room("data/resized", need, shutil.disk_usage("data").free,
                      "lower resize.side, or make room")
    for split, images in splits.items():
        shape = (len(images), side, side, 3)
        with arrays.array_writer(f"data/resized/{split}_x.npy", "uint8",
                                 shape) as out, \
                progress(f"resize {split}", len(images)) as bar:
            for batch in resize(images, given.resize):
                out.append(batch)
                bar.update(len(batch))


if __name__ == "__main__":
    run(main)
