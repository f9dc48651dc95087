#!/usr/bin/env python3
"""Fuse backbone and head into one compiled model, and prove it.

In:  models/head.h5                head
     backbone.weights              descriptor (.yaml) or weights (.h5)
     features/{split}_x.npy        and manifest.json, to compare with
     data/prepared/{split}_x.npy   uint8 (n, h, w, 3), to compare on
Out: cifar10.h5           float32 (n, h, w, 3), raw pixels 0..255 -> classes
     results/parity.json  greatest differences, see stages/lib/parity.py
"""
import contextlib
import os
import subprocess
import sys

from stages.lib import arrays, backbone, cuts, files, head, manifest, params
from stages.lib.errors import ParityError
from stages.lib.pixels import rescale_layer
from stages.lib.runtime import keras, load_model, save_model, start
from stages.lib.stage import run

FUSED = "cifar10.h5"
CANDIDATE = "models/candidate.h5"   # becomes FUSED once it has been proved


def fuse(base, application, top, shape):
    """Return raw pixels -> rescale -> scaling -> backbone -> head, flat.

    Args:
        base: `backbone.build` of `application`; its tail gets what was
            learned.
        top: what was trained, the head or the tail and the head.
        shape: (h, w, 3) of the raw images.
    """
    tail = {layer.name for layer in base.layers[1:]}
    pixels = keras.Input(shape, name="pixels")
    for layer in top.layers[1:]:
        if layer.name in tail:
            base.get_layer(layer.name).set_weights(layer.get_weights())
    rescaled = rescale_layer(base.input_shape[1])(pixels)
    tensor = backbone.features(base, application, rescaled)
    for layer in top.layers[1:]:
        if layer.name.startswith(head.NAME):
            tensor = layer(tensor)
    return keras.Model(pixels, tensor, name="fused")


def prove(path):
    """Let a fresh process reload the model at `path` and compare it.

    Raises:
        ParityError: it does not load cleanly, or says something else than
            head(cached features).
    """
    done = subprocess.run([sys.executable, "-m", "stages.lib.parity", path],
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended by a signal"]
        raise ParityError(f"no {FUSED} written: {lines[-1]}")


def main():
    """Write the fused model, if it agrees with the cached features."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(FUSED)
    given = params.read()
    start(seed=0)
    base = backbone.build(given.backbone, given.resize.side)
    cut = cuts.resolve(base, given.backbone.cut)
    extractor = backbone.extractor(backbone.frozen(base, cut),
                                   given.backbone.application)
    made = manifest.read(backbone.key(extractor, cut, given.backbone,
                                      given.extract))
    top = load_model("models/head.h5")
    images = arrays.open_array("data/prepared/train_x.npy", ndim=4)
    model = fuse(base, given.backbone.application, top, images.shape[1:])
    model.compile(head.optimizer(given.train.optimizer,
                                 given.train.learning_rate),
                  head.loss(model), ["accuracy"])
    model.optimizer.build(model.trainable_variables)
    save_model(model, CANDIDATE, class_names=made["class_names"])
    try:
        prove(CANDIDATE)
        files.put(CANDIDATE, FUSED)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(CANDIDATE)


if __name__ == "__main__":
    run(main)
