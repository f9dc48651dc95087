#!/usr/bin/env python3
"""Compute the features: each image passes the frozen backbone once.

In:  data/resized/{split}_x.npy  uint8 (n, side, side, 3), 0..255
     backbone.weights            descriptor (.yaml) or weights (.h5)
     models/linked/              links to a saved model, the backbone
Out: features/{split}_x.npy      float32 or float16, (n, d) or (n, h, w, c)
     features/{split}_rows.npy   digests of each row's image and features
     features/views/             the same two for each further view of train
     features/evaluation/        the same for those of validation and test
     features/manifest.json      how they were computed
     features/scratch/           for the next run, not tracked
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import os
import shutil
import time

from stages.lib.backbone import layers, portable, saved_models
from stages.lib.cache import cluster, compute, lookup, plan
from stages.lib.common import (
    arrays, errors, files, keras_runtime, manifest, progress, seals, stage,
    timings, watched_files)
from stages.lib.engines import engine
from stages.lib.images import views
from stages.lib.params import names, params

ABOUT = """Each further view of extract.views has an array here; row by row,
it shows the images of ../train_x.npy.
"""


def images(given):
    """Return name of the array -> `views.Viewed`, number of rows.

    Args:
        given: `params.Params`.

    Raises:
        ArtefactError: missing, damaged, or of another side.
    """
    def of(split, view):
        """Return the images of one array."""
        path = f"data/resized/{split}_x.npy"
        viewed = views.Viewed(path, view)
        if viewed.pixels.shape[1] != given.resize.side:
            raise errors.ArtefactError(
                f"{path}: images of {viewed.pixels.shape[1]} px, resize.side "
                f"is {given.resize.side}; run `dvc repro resize` first")
        return viewed, len(viewed.pixels)

    return {**{split: of(split, names.IDENTITY) for split in files.SPLITS},
            **{f"views/{view}": of("train", view)
               for view in given.extract.views[1:]},
            **{f"{manifest.EVALUATION}{split}/{view}": of(split, view)
               for split in files.SCORED for view in given.evaluate.views[1:]}}


def check(images):
    """Raise an ArtefactError if the resized images are damaged.

    Args:
        images: array -> digests of each row's pixels.
    """
    paths = {f"data/resized/{split}_x.npy": images[split]
             for split in files.SPLITS}
    seals.check("resize", *paths, known={
        path: seals.of_rows(arrays.open_array(path), rows)
        for path, rows in paths.items()})


def look_up(given):
    """Find the rows that are known, print the plan.

    Args:
        given: `params.Params`.

    Returns:
        `lookup.Cache`; `engine.Engine`, None if there are no new rows;
        `cluster.Cluster`, None to compute on this machine.

    Raises:
        ClusterError: as `cluster.connect`.
        PlanError: the features do not fit on disk or into memory.
        ArtefactError: the resized images are missing or damaged.
        BackboneError, EngineError: a format of export.formats cannot be had.
    """
    keras_runtime.reset(seed=0)
    frozen = layers.build(given)
    portable.check(given, lambda: frozen.base)    # before hours of work
    key = {**frozen.key, **engine.key(given.extract)}
    wanted = images(given)
    cache = lookup.Cache(key, wanted, frozen.extractor.output_shape[1:],
                         given.extract.dtype)
    check(cache.images)
    loaded = nodes = None
    if cache.count:
        loaded = engine.load(given.extract.engine, frozen.extractor,
                             cache.folder)
        if names.is_saved_model(given.backbone.application):
            engine.check(given.extract.engine, loaded, frozen.extractor)
        nodes = cluster.connect(cache, loaded, frozen.extractor)
    plan.plan(cache, loaded, wanted["train"][0], frozen.extractor,
              nodes and nodes.cpus)
    return cache, loaded, nodes


def finish(cache, class_names):
    """Publish the arrays under features/, the manifests last."""
    files.check_dvc()
    for path in manifest.FIXED:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
    files.write_text(manifest.VIEWS_README, ABOUT)
    described = {
        path: {"rows": len(arrays.open_array(path)), "sha256": digest}
        for path, digest in compute.publish(cache).items()}
    for path in reversed(manifest.PATHS):
        manifest.write(cache.key, class_names, {
            name: one for name, one in described.items()
            if manifest.of_array(name) == path}, path)


def main():
    """Compute the rows that are not known, write arrays and manifest."""
    given = params.read()
    watched_files.watch(watched_files.MODEL,
                        saved_models.files_of(given.backbone.application))
    seals.check("prepare", "data/prepared/dataset.json")
    dataset = files.read_json("data/prepared/dataset.json")
    cache, loaded, nodes = look_up(given)
    start = time.monotonic()
    with progress.bar("extract", cache.count) as bar:
        compute.compute(cache, loaded, bar, nodes)
    if cache.count:
        timings.record(manifest.digest(cache.key),
                       time.monotonic() - start, cache.count)
    finish(cache, dataset["class_names"])


if __name__ == "__main__":
    stage.run(main)
