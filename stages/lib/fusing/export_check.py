#!/usr/bin/env python3
"""Compare exported files with the fused model and head(cached features).

With q the probabilities of a file, p those of the fused model, and h(f) those
of head(cached features): q - h(f) = (q - p) + (p - h(f)).  `fuse` has judged
the second term.  Two things explain the first, and both are measured:

- rounding, as in comparison.py: the fused model computes once more with each
  weight changed by sqrt(n) u at random, and `SAFETY` times the largest change
  of a probability is allowed;
- resizing: runtimes may round a pixel to the other whole grey level if it is
  near a half.  How near: bilinear scaling finds a pixel's place among `length`
  others with 2 roundings of that number, relative u, and adds 4 products of
  up to 255.  Neighbours differ by up to 255, so its error is at most
  255 u (2 length + 4); 0 if all places are multiples of 1/128, because then
  a float32 is exact.  All pixels that are nearer to a half than this are
  moved to the other level, and `SAFETY` times the change that this makes is
  allowed, at most `BLIND` of the spread of probabilities.  Where no pixel is
  so near, as at 32 -> 160, it is 0.
"""
import operator

import numpy as np

from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import comparison
from stages.lib.images import large_pictures, rescaling
from stages.lib.training import head, numpy_head

EXACT = 64    # such parts: 2 weights of 7 bits times a pixel of 8 are exact
FINE = 2.0**14    # parts of a grey level: 255 of them are exact in float32


class Reference:
    """What an exported file must give for some images, and how exactly.

    Attributes:
        expected: float64 (k, classes), probabilities of the fused model.
        cached: the same, of head(cached features).
        rounding, resizing: what they may change of a probability.
    """

    def __init__(self, model, top, rows, resize):
        """Compute the reference.

        Args:
            model: the fused model, reloaded.
            top: the trained head, or tail and head.
            rows: `sample.Sample`.
            resize: `params.Resize`.
        """
        self._rows, self._resize = rows, resize.model_dump()
        self._logits = head.gives_logits(model)
        self._rest = keras.Model(model.get_layer("rescale").output,
                                 model.output)
        self.expected, moved, self.cached = [
            np.concatenate(found) for found in zip(*(
                self._of(range(k, min(k + comparison.BATCH, len(rows))), top)
                for k in range(0, len(rows), comparison.BATCH)))]
        self.resizing = comparison.SAFETY * np.abs(moved - self.expected).max()
        if len(rows) > 1:
            self.resizing = min(self.resizing, comparison.BLIND * np.ptp(
                self.expected, axis=0).max())
        self.rounding = self._rounding()

    def _of(self, chosen, top):
        """Return probabilities of some rows: of the fused model, of it with
        pixels moved, and of head(cached features).
        """
        scaled, moved, features = map(np.concatenate, zip(*(
            (*self._scaled(images), features)
            for images, features in batches(self._rows, chosen))))
        expected = self._predict(scaled)
        return (expected, expected if np.array_equal(scaled, moved)
                else self._predict(moved), numpy_head.to_probabilities(
                    top.predict_on_batch(features.astype("float32")),
                    self._logits))

    def _scaled(self, images):
        """Return images as the backbone sees them, float32 (k, side, side, 3);
        and the same with the pixels near a half moved to the other level.

        `images` are uint8 (k, h, w, 3).
        """
        pixels = images.astype("float32")
        found = rescaling.rescale(pixels, **self._resize).numpy()
        exact = rescaling.rescale(FINE * pixels, **self._resize).numpy() / FINE
        below = np.floor(exact)
        near = np.abs(exact - below - 0.5) < self._error(*pixels.shape[1:3])
        return found, np.where(near, 2 * below + 1 - found, found)

    def _error(self, height, width):
        """Return how far the scaled pixels of an image may be from exact."""
        mode, side = self._resize["mode"], self._resize["side"]
        if mode != "stretch":
            height = width = (min if mode == "crop" else max)(height, width)
        if not (height * EXACT % side or width * EXACT % side):
            return 0.0
        return 0.5 / FINE + 255 * comparison.UNIT * (
            2 * max(height, width) + 4)

    def _rounding(self):
        """Return what rounding explains of a probability.

        It is measured on rows at equal distances, and on the least certain.
        """
        count = comparison.BATCH
        rows = [*np.linspace(0, len(self._rows) - 1, count // 2).astype(int),
                *np.argsort(self.expected.max(axis=1))]
        rows = list(dict.fromkeys(rows))[:count]
        scaled = np.concatenate([self._scaled(images)[0] for images, _
                                 in batches(self._rows, rows)])
        before = self._predict(scaled)
        with comparison.changed_weights(self._rest, np.random.default_rng(0)):
            change = np.abs(self._predict(scaled) - before).max()
        return 8 * comparison.ULP + (
            comparison.SAFETY / comparison.LIFT * change)

    def _predict(self, scaled):
        """Return the probabilities for images as the backbone sees them."""
        return numpy_head.to_probabilities(
            self._rest.predict_on_batch(scaled), self._logits)

    def compare(self, answers):
        """Return how far a file is from the fused model and the cache.

        Args:
            answers: float (k, classes), its probabilities for all rows.

        Returns:
            A dictionary for export.json.

        Raises:
            ParityError: rounding and resizing do not explain it.
        """
        if answers.shape != self.expected.shape:
            raise errors.ParityError(f"gives {answers.shape[1:]} for an image,"
                                     f" not {self.expected.shape[1:]}")
        difference = np.abs(answers - self.expected).max(axis=1)
        allowed = self.rounding + self.resizing
        if not difference.max() <= allowed:
            worst = self._rows.names[int(np.nan_to_num(
                difference, nan=np.inf).argmax())]
            raise errors.ParityError(
                f"disagrees with the fused model: worst is {worst}, with "
                f"probabilities that differ by {difference.max():.2g} "
                f"(rounding explains {self.rounding:.2g}, resizing "
                f"{self.resizing:.2g})")
        return {
            "images": len(answers),
            "difference_to_fused_model": float(difference.max()),
            "explained_by_rounding": float(self.rounding),
            "explained_by_resizing": float(self.resizing),
            "difference_to_cached_features": float(
                np.abs(answers - self.cached).max()),
            "class_agreement": float((answers.argmax(axis=1) == (
                self.cached.argmax(axis=1))).mean())}


def batches(rows, chosen):
    """Yield images of one size, uint8 (k, h, w, 3), and their features.

    Args:
        rows: `sample.Sample`.
        chosen: row numbers.
    """
    for part in large_pictures.of_one_size(
            map(rows.__getitem__, chosen), operator.itemgetter(0),
            comparison.BATCH):
        images, features = zip(*part)
        yield np.stack(images), np.stack(features)


def answers(ask, rows):
    """Return what a file answers for all rows, float (k, classes).

    Args:
        ask: function, float32 (n, h, w, 3) -> float32 (n, classes).
        rows: `sample.Sample`.
    """
    return np.concatenate([ask(images.astype("float32")) for images, _
                           in batches(rows, range(len(rows)))])
