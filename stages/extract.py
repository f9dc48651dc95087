#!/usr/bin/env python3
"""Compute the features: every image through the frozen backbone, once.

Usage: python -m stages.extract [--plan]

With --plan, says what would be computed, why, and what it takes; no more.

In:  data/resized/{split}_x.npy  uint8 (n, side, side, 3), 0..255
     backbone.weights            descriptor (.yaml) or weights (.h5)
Out: features/{split}_x.npy      float32 or float16, (n, d) or (n, h, w, c)
     features/{split}_rows.npy   of which image each row is, and its digest
     features/views/             the same two for each further view of train
     features/manifest.json      what they were computed from
     features/scratch/           for the next run, not tracked
"""
import shutil
import sys
import time

from stages.lib import (arrays, backbone, cuts, engine, files, manifest,
                        params, refused, timings, views)
from stages.lib.batches import progress
from stages.lib.cache import Cache
from stages.lib.errors import ArtefactError
from stages.lib.fill import fill, publish
from stages.lib.plan import plan
from stages.lib.runtime import start
from stages.lib.stage import run

VIEWS = "features/views"
ABOUT = """Each further view of extract.views has an array here; row by row,
it shows the images of ../train_x.npy.
"""


def images(wanted, side):
    """Return name of the array -> (row numbers -> pixels), number of rows.

    Args:
        wanted: views of train.
        side: `resize.side`.

    Raises:
        ArtefactError: missing, damaged, or of another side.
    """
    def of(split, view):
        """Return one array's images."""
        path = f"data/resized/{split}_x.npy"
        pixels = arrays.open_array(path, ndim=4)
        if pixels.shape[1] != side:
            raise ArtefactError(
                f"{path}: images of {pixels.shape[1]} px, resize.side is "
                f"{side}; run `dvc repro resize` first")
        return lambda rows: views.apply(view, pixels[rows]), len(pixels)

    return {**{split: of(split, views.IDENTITY) for split in files.SPLITS},
            **{f"views/{view}": of("train", view) for view in wanted
               if view != views.IDENTITY}}


def finish(cache, class_names):
    """Let the cache appear under features/, the manifest last."""
    files.demand_dvc()
    shutil.rmtree(VIEWS, ignore_errors=True)
    files.write_text(f"{VIEWS}/README.txt", ABOUT)
    sha256 = publish(cache)
    manifest.write(cache.key, class_names, {
        path: {"rows": len(arrays.open_array(path)), "sha256": digest}
        for path, digest in sha256.items()})


def main():
    """Plan, compute what is not known yet, write arrays and manifest."""
    given = params.read()
    names = files.read_json("data/prepared/dataset.json")["class_names"]
    start(seed=0)
    model = backbone.build(given.backbone, given.resize.side)
    cut = cuts.resolve(model, given.backbone.cut)
    extractor = backbone.extractor(backbone.frozen(model, cut),
                                   given.backbone.application)
    wanted = images(given.extract.views, given.resize.side)
    cache = Cache(backbone.key(extractor, cut, given.backbone, given.extract),
                  wanted, extractor.output_shape[1:], given.extract.dtype)
    loaded = engine.load(given.extract.engine, extractor, cache.folder)
    plan(cache, loaded, wanted["train"][0])
    if "--plan" in sys.argv:
        if refused.summary():
            print(f"extract: {refused.summary()}")
        return
    new = sum(map(len, cache.new.values()))
    began = time.monotonic()
    with progress("extract", new) as bar:
        fill(cache, loaded, bar)
    if new:
        timings.note(manifest.digest(cache.key), time.monotonic() - began,
                     new)
    finish(cache, names)


if __name__ == "__main__":
    run(main)
