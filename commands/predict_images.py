#!/usr/bin/env python3
"""Predict the class of image files with a fused or exported model.

In:  a fused model (.h5), or an exported one (.h5, .tflite, .onnx);
     image files, folders of them, or - for the bytes of one image on
     standard input.
Out: on standard output, a table or JSON; on standard error, a line for each
     file that is not an image.  Exit status: 0, or 1 if a file failed, 2 if
     the command is invalid or the model cannot be read or is not trusted.
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import json
import operator
import os
import sys

import numpy as np

from stages.lib.common import command_line, errors, parallel, stage, text
from stages.lib.fusing import predictors
from stages.lib.images import fitting, large_pictures
from stages.lib.sources import walk

MAX_MEGAPIXELS = 200    # as data.max_megapixels


def parser():
    """Return the parser of the command line."""
    found = command_line.Parser(
        prog="python -m commands.predict_images",
        description="Predict the class of images with a fused model.")
    found.add_argument("model", metavar="MODEL",
                       help="a fused or exported model: .h5, .tflite, .onnx")
    found.add_argument("images", metavar="IMAGE", nargs="+",
                       help="a file, a folder, or - for standard input")
    found.add_argument("--top", type=int, default=1, metavar="K",
                       help="show the K most probable classes (default: 1)")
    found.add_argument("--max-megapixels", type=float, metavar="N",
                       default=MAX_MEGAPIXELS,
                       help="refuse larger images (default: %(default)g)")
    found.add_argument("--trust", action="store_true",
                       help="load a model that could run code of its own")
    found.add_argument("--json", action="store_true",
                       help="print a JSON list instead of a table")
    return found


def files(images, failed):
    """Yield the files among `images`, those of folders in order of names.

    Hidden, system and side files of folders are left out, as `prepare` does.
    `failed` is called for a folder without files, that is not entered, or that
    cannot be listed.
    """
    for path in images:
        if not os.path.isdir(path):
            yield path
            continue
        empty = True
        try:
            for found in walk.walk(path):
                inner = os.path.join(path, found.path)
                if found.reason is None:
                    empty = False
                    yield inner
                elif not found.reason.startswith(walk.NOT_READ):
                    failed(inner, found.reason)
        except errors.SourceError as error:
            failed(path, error)
            continue
        if empty:
            failed(path, "no image in it")


def predict(model, given, failed):
    """Yield the prediction for each image, a dictionary for JSON.

    Images are decoded ahead, on all cores, while the model computes.

    Args:
        model: as `predictors.load` returns it.
        given: the parsed command line.
        failed: function of path and reason, called for other files.
    """
    def decoded(path):
        """Return a path and its pixels, or the reason why there are none."""
        try:
            return path, model.fitted(fitting.pixels(
                path, given.max_megapixels))
        except (errors.PictureError, errors.StorageError) as error:
            return path, error

    def computed(batch):
        """Return pairs of a path and its probabilities."""
        paths, images = zip(*batch)
        return zip(paths, model.probabilities(np.stack(images)))

    def readable():
        """Yield pairs of a path and its pixels; report the others."""
        for path, found in parallel.ordered(
                decoded, files(given.images, failed)):
            if isinstance(found, errors.PipelineError):
                failed(path, found)
            else:
                yield path, found

    found = large_pictures.of_one_size(
        readable(), operator.itemgetter(1), model.batch)
    for pairs in parallel.ordered(computed, found, model.workers):
        for path, p in pairs:
            best = [{"class": model.names[k], "probability": float(p[k])}
                    for k in np.argsort(-p, kind="stable")[:given.top]]
            yield {"file": path, **best[0], "top": best}


def main():
    """Print a row for each image; return the exit status."""
    stage.use_utf8(main)
    given = parser().parse_args()
    if given.top < 1:
        parser().error("--top must be 1 or more")
    try:
        model = predictors.load(given.model, given.trust)
    except errors.PipelineError as error:
        parser().error(str(error))
    wrong = []

    def failed(path, reason):
        """Report an image that cannot be used."""
        wrong.append(path)
        named = isinstance(reason, (errors.SourceError, errors.StorageError))
        print(f"predict_images: {text.escaped(str(reason))}" if named else
              f"predict_images: {text.escaped(path)}: {reason}",
              file=sys.stderr)

    found = predict(model, given, failed)
    if given.json:
        print(json.dumps(list(found), indent=2, ensure_ascii=False))
    else:
        for row in found:
            print(text.escaped(row["file"]), *(
                f"{text.escaped(one['class'])}\t{one['probability']:.4f}"
                for one in row["top"]), sep="\t", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:    # the reader has closed its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
