#!/usr/bin/env python3
"""Fuse backbone and head into one compiled model, and verify it.

In:  models/head.h5                head, or tail and head
     backbone.weights              descriptor (.yaml) or weights (.h5)
     features/{split}_x.npy        and manifest.json, to compare with
     data/prepared/{split}_x.npy   uint8 (n, h, w, 3), to compare on; for a
     data/prepared/{split}_rows.npy  folder, the files that it lists
Out: fuse.output          float32 (n, h, w, 3), raw pixels 0..255 -> classes;
                          for a folder, any height and width
     results/parity.json  largest differences, and what rounding explains
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import contextlib
import os

from stages.lib.backbone import layers
from stages.lib.common import errors, files, keras_runtime, manifest, stage
from stages.lib.fusing import fresh_process, fused_model, parity, verdict
from stages.lib.images import prepared
from stages.lib.params import params
from stages.lib.training import head


def save_candidate(given):
    """Save the fused model as `files.CANDIDATE`; return the cache key.

    Args:
        given: `params.Params`.

    Raises:
        ArtefactError: the features were computed with another frozen part.
    """
    keras_runtime.reset(seed=0)
    frozen = layers.build(given)
    described = manifest.read(frozen.key)
    names = described["class_names"]
    trained = head.load(frozen.extractor.output_shape[1:], len(names))
    images = prepared.Images("train", given.data.source)
    model = fused_model.build(frozen.base, given.backbone.application, trained,
                              images.shape, given.resize,
                              given.backbone.scaling, given.fuse.views)
    model.compile(head.optimizer(given.train.optimizer,
                                 given.train.learning_rate),
                  head.loss(model), ["accuracy"])
    model.optimizer.build(model.trainable_variables)
    keras_runtime.save_model(model, files.CANDIDATE, class_names=names,
                             resize_mode=given.resize.mode)
    return described["key"]


def main():
    """Write the fused model if it agrees with the cached features."""
    given = params.read()
    output = given.fuse.output
    with contextlib.suppress(FileNotFoundError):
        os.unlink(output)
    with fresh_process.FreshProcess(parity.measure) as fresh:
        try:
            key = save_candidate(given)
            try:
                measured = fresh.call(files.CANDIDATE, given.data.source,
                                      given.resize.mode)
                files.write_json("results/parity.json", measured["result"])
                verdict.judge(measured, key)
            except errors.ParityError as error:
                raise errors.ParityError(
                    f"no {output} written: {error}") from error
            os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
            files.put(files.CANDIDATE, output)
            result = measured["result"]
            print(f"fuse: {output}: on {result['images']} images, its "
                  "probabilities differ from those of the cached features by "
                  f"at most {result['probability_difference']:.2g}")
            note = verdict.note(measured, key)
            if note:
                print(f"fuse: {note}")
            if given.fuse.views[1:]:
                print(f"fuse: it averages {len(given.fuse.views)} views, and "
                      "takes that many times as long per image")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(files.CANDIDATE)


if __name__ == "__main__":
    stage.run(main)
