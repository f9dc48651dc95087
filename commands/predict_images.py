#!/usr/bin/env python3
"""Predict the class of image files with a fused model.

In:  a fused model (.h5); image files, folders of them, or - for the bytes of
     one image on standard input.
Out: on standard output, a table or JSON; on standard error, a line for each
     file that is not an image.  Exit status: 0, or 1 if a file failed, 2 if
     the command is invalid or the model cannot be read or is not trusted.
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import json
import os
import sys

import h5py
import numpy as np

from stages.lib.common import (
    command_line, errors, keras_runtime, model_seal, stage, text)
from stages.lib.fusing import safe_loading
from stages.lib.images import decoding, fitting
from stages.lib.sources import walk
from stages.lib.training import head, numpy_head

MAX_MEGAPIXELS = 200    # as data.max_megapixels


def parser():
    """Return the parser of the command line."""
    found = command_line.Parser(
        prog="python -m commands.predict_images",
        description="Predict the class of images with a fused model.")
    found.add_argument("model", metavar="MODEL", help="a fused model, .h5")
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


class Predictor:
    """A fused model and its class names."""

    def __init__(self, path, trust=False):
        """Load the model at `path`.

        Args:
            path: of an `.h5` file.
            trust: load layers that could run code of their own, too.

        Raises:
            ArtefactError: it cannot be read, or is damaged.
            PipelineError: it is not a fused model, not trusted, or of another
                Python.
        """
        model_seal.check(path)
        keras_runtime.check_python(path)
        if not trust:
            safe_loading.check(path)
        self._model = keras_runtime.load_model(path)
        with h5py.File(path, "r") as file:
            self._mode = file.attrs.get("resize_mode", "stretch")
        names = keras_runtime.class_names(path)
        if names is None or len(self._model.input_shape) != 4:
            raise errors.PipelineError(
                f"{path}: not a fused model: it needs an input of images, "
                "and class_names; `dvc repro` makes one")
        self.names, self._shape = names, self._model.input_shape[1:3]

    def probabilities(self, pixels):
        """Return the probability of each class, float64 (classes,).

        Args:
            pixels: uint8 (h, w, 3), 0..255.  A model of image files accepts
                any size; for one of arrays, they are scaled to its input.
        """
        if self._shape[0] and pixels.shape[:2] != self._shape:
            pixels = fitting.fit(pixels, self._shape, self._mode)
        return numpy_head.to_probabilities(
            self._model.predict_on_batch(pixels[None].astype("float32")),
            head.gives_logits(self._model))[0]


def files(images, failed):
    """Yield the files among `images`, those of folders in order of names.

    Hidden, system and side files of folders are left out, as `prepare` does.
    `failed` is called for a folder without files, or that is not entered.
    """
    for path in images:
        if not os.path.isdir(path):
            yield path
            continue
        empty = True
        for found in walk.walk(path):
            inner = os.path.join(path, found.path)
            if found.reason is None:
                empty = False
                yield inner
            elif not found.reason.startswith(walk.NOT_READ):
                failed(inner, found.reason)
        if empty:
            failed(path, "no image in it")


def pixels(path, limit):
    """Return the pixels of the image `path`, or - for standard input.

    Raises:
        PictureError: with the reason.
    """
    if path == "-":
        return decoding.decode(sys.stdin.buffer.read(), limit)
    return decoding.decode(decoding.read(path), limit)


def predict(model, given, failed):
    """Yield the prediction for each image, a dictionary for JSON.

    Args:
        model: `Predictor`.
        given: the parsed command line.
        failed: function of path and reason, called for other files.
    """
    for path in files(given.images, failed):
        try:
            p = model.probabilities(pixels(path, given.max_megapixels))
        except errors.PictureError as error:
            failed(path, error)
            continue
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
        model = Predictor(given.model, given.trust)
    except errors.PipelineError as error:
        parser().error(str(error))
    wrong = []

    def failed(path, reason):
        """Report an image that cannot be used."""
        wrong.append(path)
        print(f"predict_images: {text.escaped(path)}: {reason}",
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
