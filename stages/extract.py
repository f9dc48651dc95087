#!/usr/bin/env python3
"""Compute the features: every image through the frozen backbone, once.

In:  data/resized/{split}_x.npy  uint8 (n, side, side, 3), 0..255
     backbone.weights            descriptor (.yaml) or weights (.h5)
Out: features/{split}_x.npy      float32 or float16 (n, d)
     features/manifest.json      what they were computed from
"""
import numpy as np

from stages.lib import backbone, files, manifest, params
from stages.lib.batches import batches, progress
from stages.lib.errors import ArtefactError
from stages.lib.runtime import start, tf
from stages.lib.stage import run

BATCH = 64


def extract(model, images, dtype):
    """Yield the features of `images` batch by batch.

    Args:
        model: `backbone.extractor`.
        images: uint8 (n, side, side, 3).
        dtype: of the features.

    Raises:
        ArtefactError: a feature is not finite in `dtype`.
    """
    @tf.function(reduce_retracing=True)
    def forward(batch):
        """Return the features of one batch."""
        return model(batch, training=False)

    for batch in batches(images, BATCH):
        with np.errstate(over="ignore"):
            rows = forward(tf.cast(batch, tf.float32)).numpy().astype(dtype)
        if not np.isfinite(rows).all():
            raise ArtefactError(
                f"features: too large for {dtype}; check backbone.weights, or "
                "set extract.dtype to float32")
        yield rows


def main():
    """Write the features of every split, then the manifest."""
    given = params.read()
    start(seed=0)
    model = backbone.build(given.backbone, given.resize.side)
    dtype = given.extract.dtype
    extractor = backbone.extractor(model, given.backbone.application)
    rows, sha256 = {}, {}
    for split in files.SPLITS:
        images = files.open_array(f"data/resized/{split}_x.npy", ndim=4)
        shape = (len(images), *extractor.output_shape[1:])
        path = f"features/{split}_x.npy"
        with files.array_writer(path, dtype, shape) as out, \
                progress(f"extract {split}", len(images)) as bar:
            for batch in extract(extractor, images, dtype):
                out.append(batch)
                bar.update(len(batch))
        rows[split], sha256[split] = len(images), out.sha256
        print(f"extract: {split}: {len(images):,} images, features "
              f"{shape[1:]} {dtype}")
    names = files.read_json("data/prepared/dataset.json")["class_names"]
    manifest.write(backbone.key(model, given.backbone, dtype), names, rows,
                   sha256)


if __name__ == "__main__":
    run(main)
