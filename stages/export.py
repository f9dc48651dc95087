#!/usr/bin/env python3
"""Write the fused model for other programs, and verify each file.

In:  fuse.output                   the fused model
     models/head.h5                head, or tail and head
     features/{split}_x.npy        and manifest.json, to compare with
     data/prepared/{split}_x.npy   uint8 (n, h, w, 3), to compare on; for a
     data/prepared/{split}_rows.npy  folder, the files that it lists
Out: models/export/        a file, or a folder, for each of export.formats:
                           float32 (n, h, w, 3), raw pixels 0..255 ->
                           probability of each class, float32 (n, classes)
     models/export/export.json  what they are, and how far they differ
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import contextlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from stages.lib.common import errors, files, manifest, seals, stage
from stages.lib.params import params

FOLDER = "models/export"
PART = "models/scratch/export"    # becomes FOLDER after the comparison
ABOUT = {"input": "float32 (n, h, w, 3): RGB, 0 to 255",
         "output": "float32 (n, classes): probability of each class",
         "preprocessing": "none: the model scales images and pixels itself"}


def write(given, names):
    """Write all files to `PART` and compare them; return their descriptions.

    Args:
        given: `params.Params`, with at least one format.
        names: of the classes.

    Raises:
        ParityError: a file cannot be loaded, or disagrees.
        PipelineError: the model cannot be written in a format.
    """
    from stages.lib.fusing import stranger    # not without a format
    with contextlib.ExitStack() as stack:
        strangers = {kind: stack.enter_context(stranger.Stranger(kind))
                     for kind in given.export.formats}
        from stages.lib.common import keras_runtime    # meanwhile
        from stages.lib.fusing import export_check, formats, sample
        keras_runtime.reset(seed=0)
        model = keras_runtime.load_model(given.fuse.output, compiled=True)
        paths = {kind: f"{PART}/{formats.FORMATS[kind][0]}"
                 for kind in given.export.formats}
        for kind, path in paths.items():
            formats.FORMATS[kind][1](model, path, names, given.resize.mode)
        found, rows = [], sample.Sample(given.data.source, given.resize.mode)
        pool = stack.enter_context(ThreadPoolExecutor(len(paths)))
        asked = {kind: pool.submit(
            export_check.answers, strangers[kind].open(path).probabilities,
            rows) for kind, path in paths.items()}
        reference = export_check.Reference(
            model, keras_runtime.load_model(files.HEAD), rows, given.resize)
        for kind, one in asked.items():
            try:
                compared = reference.compare(one.result())
            except errors.ParityError as error:
                raise errors.ParityError(
                    f"nothing exported: the file for {kind} {error}"
                    ) from error
            found.append({**describe(kind, model, paths[kind]),
                          "comparison": compared})
    return found


def describe(kind, model, path):
    """Return what export.json says about a file.

    Args:
        kind: its format.
        model: the fused model.
        path: of the file or folder.
    """
    return {"name": os.path.basename(path), "format": kind,
            "input": {"name": "pixels", "dtype": "float32",
                      "shape": model.input_shape},
            "output": {"name": "probabilities", "dtype": "float32",
                       "shape": model.output_shape},
            "softmax_added": model.layers[-1].get_config().get(
                "activation") == "linear",
            "sha256": {os.path.relpath(one, PART): files.digest(one, "sha256")
                       for one in files.inside(path)}}


def main():
    """Write the files, and put them in place if all of them agree."""
    given = params.read()
    seals.check("fuse", given.fuse.output)
    names = manifest.read()["class_names"]
    shutil.rmtree(PART, ignore_errors=True)
    os.makedirs(PART)
    try:
        found = write(given, names) if given.export.formats else []
        seals.write_json(f"{PART}/export.json", {
            **ABOUT, "class_names": names, "files": found})
        files.check_dvc()
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.replace(PART, FOLDER)
    finally:
        shutil.rmtree(PART, ignore_errors=True)
    for one in found:
        compared = one["comparison"]
        print(f"export: {FOLDER}/{one['name']}: on {compared['images']} "
              "images, its probabilities differ from those of the cached "
              "features by at most "
              f"{compared['difference_to_cached_features']:.2g}")


if __name__ == "__main__":
    stage.run(main)
