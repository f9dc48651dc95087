#!/usr/bin/env python3
"""Fuse backbone and head into one compiled model, and prove it.

In:  models/head.h5                head
     backbone.weights              descriptor (.yaml) or weights (.h5)
     features/{split}_x.npy        and manifest.json, to compare with
     data/prepared/{split}_x.npy   uint8 (n, h, w, 3), to compare on
     data/prepared/{split}.json    of a folder, instead: its files
Out: fuse.output          float32 (n, h, w, 3), raw pixels 0..255 -> classes;
                          of a folder, of any height and width
     results/parity.json  greatest differences, see stages/lib/parity.py
"""
import contextlib
import os
import subprocess
import sys

from stages.lib import backbone, cuts, files, head, manifest, params
from stages.lib.errors import ParityError
from stages.lib.pixels import rescale_layer
from stages.lib.prepared import Images
from stages.lib.runtime import keras, save_model, start
from stages.lib.stage import run

CANDIDATE = "models/candidate.h5"   # becomes fuse.output once it is proved


def fuse(base, application, top, shape, resize):
    """Return raw pixels -> rescale -> scaling -> backbone -> head, flat.

    Args:
        base: `backbone.build` of `application`; its tail gets what was
            learned.
        top: what was trained, the head or the tail and the head.
        shape: of a raw image, (h, w, 3), or (None, None, 3).
        resize: `params.Resize`.
    """
    tail = {layer.name for layer in base.layers[1:]}
    pixels = keras.Input(shape, name="pixels")
    for layer in top.layers[1:]:
        if layer.name in tail:
            base.get_layer(layer.name).set_weights(layer.get_weights())
    rescaled = rescale_layer(**resize.model_dump())(pixels)
    tensor = backbone.features(base, application, rescaled)
    for layer in top.layers[1:]:
        if layer.name.startswith(head.NAME):
            tensor = layer(tensor)
    return keras.Model(pixels, tensor, name="fused")


def prove(path, output, source):
    """Let a fresh process reload the model at `path` and compare it.

    It is to become `output`; `source` is data.source.

    Raises:
        ParityError: it does not load cleanly, or says something else than
            head(cached features).
    """
    done = subprocess.run(
        [sys.executable, "-m", "stages.lib.parity", path, source],
        stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended by a signal"]
        raise ParityError(f"no {output} written: {lines[-1]}")


def main():
    """Write the fused model, if it agrees with the cached features."""
    given = params.read()
    output = given.fuse.output
    with contextlib.suppress(FileNotFoundError):
        os.unlink(output)
    start(seed=0)
    base = backbone.build(given.backbone, given.resize.side)
    cut = cuts.resolve(base, given.backbone.cut)
    extractor = backbone.extractor(backbone.frozen(base, cut),
                                   given.backbone.application)
    made = manifest.read(backbone.key(extractor, cut, given.backbone,
                                      given.extract))
    top = head.load(extractor.output_shape[1:], len(made["class_names"]))
    images = Images("train", given.data.source)
    model = fuse(base, given.backbone.application, top, images.shape,
                 given.resize)
    model.compile(head.optimizer(given.train.optimizer,
                                 given.train.learning_rate),
                  head.loss(model), ["accuracy"])
    model.optimizer.build(model.trainable_variables)
    save_model(model, CANDIDATE, class_names=made["class_names"],
               resize_mode=given.resize.mode)
    try:
        prove(CANDIDATE, output, given.data.source)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        files.put(CANDIDATE, output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(CANDIDATE)


if __name__ == "__main__":
    run(main)
