#!/usr/bin/env python3
"""Predict the class of image files with a fused model.

In:  a fused model (.h5); image files, folders of them, or - for the bytes of
     one image on standard input.
Out: on standard output, a table or JSON; on standard error, a line for each
     file that is not an image.  Exit status: 0, or 1 if a file failed, 2 if
     the command is invalid or the model cannot be read.
"""
import argparse
import json
import os
import sys

import h5py
import numpy as np

from stages.lib.common import errors, keras_runtime
from stages.lib.images import decoding, rescaling
from stages.lib.training import head, numpy_head


def parser():
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="python -m commands.predict_images",
        description="Predict the class of images with a fused model.")
    found.add_argument("model", metavar="MODEL", help="a fused model, .h5")
    found.add_argument("images", metavar="IMAGE", nargs="+",
                       help="a file, a folder, or - for standard input")
    found.add_argument("--top", type=int, default=1, metavar="K",
                       help="show the K most probable classes (default: 1)")
    found.add_argument("--json", action="store_true",
                       help="print a JSON list instead of a table")
    return found


class Predictor:
    """A fused model and its class names."""

    def __init__(self, path):
        """Load the model at `path`.

        Raises:
            ArtefactError: it cannot be read.
            PipelineError: it is not a fused model.
        """
        self._model = keras_runtime.load_model(path)
        with h5py.File(path, "r") as file:
            self._mode = file.attrs.get("resize_mode", "stretch")
            names = file.attrs.get("class_names")
        shape = self._model.input_shape
        if names is None or len(shape) != 4 or shape[1] != shape[2]:
            raise errors.PipelineError(
                f"{path}: not a fused model: it needs an input of square or "
                "any images, and class_names; `dvc repro` makes one")
        self.names, self._side = [str(name) for name in names], shape[1]

    def probabilities(self, pixels):
        """Return the probability of each class, float64 (classes,).

        Args:
            pixels: uint8 (h, w, 3), 0..255.  A model of a folder accepts any
                size; for one of arrays, they are scaled to its input.
        """
        images = pixels[None].astype("float32")
        if self._side and pixels.shape[:2] != (self._side, self._side):
            images = rescaling.rescale(
                images, self._side, self._mode, antialias=True)
        return numpy_head.to_probabilities(
            self._model.predict_on_batch(images),
            head.gives_logits(self._model))[0]


def files(images, failed):
    """Yield the files among `images`, those of folders in order of names.

    `failed` is called for a folder that cannot be listed.
    """
    for path in images:
        if not os.path.isdir(path):
            yield path
            continue
        for folder, folders, names in os.walk(
                path, onerror=lambda e: failed(e.filename, e.strerror)):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            yield from (os.path.join(folder, name) for name in sorted(names)
                        if name[0] != ".")


def pixels(path):
    """Return the pixels of the image `path`, or - for standard input.

    Raises:
        PictureError: with the reason.
    """
    if path == "-":
        return decoding.decode(sys.stdin.buffer.read())
    folder, name = os.path.split(os.path.realpath(path))
    return decoding.decode(decoding.read(folder, name))


def predict(model, images, top, failed):
    """Yield the prediction for each image, a dictionary for JSON.

    Args:
        model: `Predictor`.
        images: paths of files and folders.
        top: number of classes.
        failed: function of path and reason, called for other files.
    """
    for path in files(images, failed):
        try:
            p = model.probabilities(pixels(path))
        except errors.PictureError as error:
            failed(path, error)
            continue
        best = [{"class": model.names[k], "probability": float(p[k])}
                for k in np.argsort(-p, kind="stable")[:top]]
        yield {"file": path, **best[0], "top": best}


def main():
    """Print a row for each image; return the exit status."""
    sys.stdout.reconfigure(errors="backslashreplace")    # of file names
    given = parser().parse_args()
    if given.top < 1:
        parser().error("--top must be 1 or more")
    try:
        model = Predictor(given.model)
    except errors.PipelineError as error:
        parser().error(str(error))
    wrong = []

    def failed(path, reason):
        """Report an image that cannot be used."""
        wrong.append(path)
        print(f"predict_images: {path}: {reason}", file=sys.stderr)

    found = predict(model, given.images, given.top, failed)
    if given.json:
        print(json.dumps(list(found), indent=2, ensure_ascii=False))
    else:
        for row in found:
            print(row["file"], *(f"{one['class']}\t{one['probability']:.4f}"
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
