#!/usr/bin/env python3
"""Random small configurations: backbone and images, and a head for them."""
import numpy as np
import parts

from stages.lib.backbone import backbone as backbones
from stages.lib.backbone import cuts
from stages.lib.common import errors
from stages.lib.common.keras_runtime import keras
from stages.lib.engines import engine
from stages.lib.images import rescaling
from stages.lib.params import params
from stages.lib.training import gradient_training
from stages.lib.training import head as heads
from stages.lib.training import tail

gradient_training.STEPS = 1    # few steps: the graph of 32 would take longest
CLASSES = 3
IMAGES = 64    # two full batches; the first two thirds are the train split
# Application, options, least side, and how often it is drawn.
APPLICATIONS = [("SimpleCNN", {}, 32, 8), ("AlexNet", {}, 64, 2),
                ("MobileNet", {"alpha": 0.25}, 32, 5),
                ("MobileNet", {"alpha": 0.75}, 32, 1),
                ("MobileNetV2", {"alpha": 0.35}, 32, 1),
                ("MobileNetV3Small", {}, 32, 1),
                ("EfficientNetB0", {}, 32, 1), ("RegNetY002", {}, 32, 1)]
REAL = ("MobileNet", {"alpha": 0.75})


def white_shapes(random, y, x, label, size):
    """Return a white circle, square or stripe on black."""
    cy, cx = random.uniform(0.3, 0.7, 2) * size
    r = random.uniform(0.15, 0.3) * size.min()
    inside = [(y - cy)**2 + (x - cx)**2 < r * r,
              np.maximum(abs(y - cy), abs(x - cx)) < r, abs(y - cy) < r / 2]
    return np.repeat(inside[label][..., None] * 255.0, 3, axis=2)


def coloured_noise(random, y, x, label, size):
    """Return noise around a colour of the class."""
    colour = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])[label]
    return colour + random.normal(0, random.uniform(5, 40), (*y.shape, 3))


def grey(random, y, x, label, size):
    """Return stripes without colour."""
    wave = 128 + 80 * np.sin(y / (2 + 2 * label) + random.uniform(0, 6))
    return np.repeat(wave[..., None] + random.normal(0, 5, (*y.shape, 1)), 3,
                     axis=2)


def nearly_constant(random, y, x, label, size):
    """Return one grey level, and a block of pixels one to three brighter."""
    image = np.full((*y.shape, 3), 128.0)
    cy, cx = random.integers(0, size - 4)
    image[cy:cy + 4, cx:cx + 4] += 1 + label
    return image


def smooth(random, y, x, label, size):
    """Return a gradient of two colours in a direction of the class."""
    a, b = random.uniform(0, 255, (2, 3))
    t = [y / y.max(), x / x.max(), (y + x) / (y + x).max()][label][..., None]
    return a * t + b * (1 - t)


KINDS = (white_shapes, coloured_noise, grey, nearly_constant, smooth)


def pictures(random, draw):
    """Return uint8 (n, h, w, 3), drawn by one of `KINDS`, and labels (n,)."""
    size = random.integers(16, 49, 2)
    if random.random() < 0.5:
        size[1] = size[0]
    labels = np.arange(IMAGES) % CLASSES
    y, x = np.mgrid[:size[0], :size[1]]
    images = np.stack([draw(random, y, x, label, size) for label in labels])
    return images.clip(0, 255).round().astype("uint8"), labels


class Backbone:
    """A frozen part with its cached features."""

    def __init__(self, random, weights):
        """Draw all of it.

        Args:
            random: numpy.random.Generator.
            weights: of `REAL`, a path, or None.
        """
        chance = np.array([often for *_, often in APPLICATIONS], "float64")
        name, options, side, _ = APPLICATIONS[random.choice(
            len(APPLICATIONS), p=chance / chance.sum())]
        real = weights is not None and random.random() < 0.25
        if real:
            name, options = REAL
        draw = KINDS[random.integers(len(KINDS))]
        self.images, self.labels = pictures(random, draw)
        self.resize = params.Resize(
            side=side + 8 * int(random.integers(0, 6)),
            mode=str(random.choice(["stretch", "stretch", "crop", "pad"])),
            antialias=bool(random.integers(2)))
        self.given = params.Backbone(
            application=name, options=options, cut="top",
            pooling=str(random.choice(["avg", "max"])),
            weights=weights if real else parts.RANDOM)
        self.base = backbones.build(self.given, self.resize.side)
        lively = not real and random.random() < 0.5
        if lively:
            parts.lively(self.base)
        good = cuts.valid(self.base)
        self.cut = cuts.TOP if random.random() < 0.75 else good[
            random.integers(len(good) // 4, len(good) - 1)].name
        self._extract(str(random.choice(["tflite"] * 5 + ["tensorflow"])),
                      str(random.choice(["float32", "float32", "float16"])))
        self._text = (f"{name} {options} {'real' if real else 'random'}"
                      f"{' lively' if lively else ''} {self.cut} "
                      f"{self.resize} {draw.__name__} {self.key['engine']} "
                      f"{self.key['dtype']} {self.given.pooling}")

    def __str__(self):
        """Return what was drawn."""
        return self._text

    def _extract(self, name, dtype):
        """Compute the features by the engine `name`, if it can."""
        extractor = backbones.extractor(
            backbones.frozen(self.base, self.cut), self.given.application)
        pixels = rescaling.rescale(
            self.images, **self.resize.model_dump()).numpy().astype("uint8")
        try:
            loaded = engine.load(name, extractor, None)
        except errors.EngineError:
            name, loaded = "tensorflow", engine.load("tensorflow", extractor,
                                                     None)
        self.features = loaded.compute(pixels).astype(dtype)
        self.rows = list(zip(self.images, self.features))
        self.key = {"dtype": dtype, "engine": name,
                    "weights": backbones.digest(extractor)}

    def learn(self, given):
        """Return the trained head, or tail and head, reloaded from a file.

        Args:
            given: `params.Train`.

        Raises:
            TrainingError: as `gradient_training.fit`.
        """
        one_hot = np.eye(CLASSES, dtype="float32")[self.labels]
        x, split = self.features.astype("float32"), 2 * IMAGES // 3
        behind = self.cut != cuts.TOP and backbones.tail(self.base, self.cut)
        vectors = heads.outputs(behind, x) if behind else x
        top = heads.build(given, vectors[:split], CLASSES)
        gradient_training.fit(
            top, given, ([vectors[:split]], one_hot[:split]),
            (vectors[split:], one_hot[split:]), {"callbacks": []})
        if not behind:
            return parts.through_file(top)
        before = [layer.get_weights() for layer in self.base.layers]
        model = tail.join(self.base, self.cut, top)
        model.compile(keras.optimizers.SGD(1e-4), heads.loss(model),
                      run_eagerly=True)    # faster than a graph for one step
        model.train_on_batch(x[:8], one_hot[:8])
        learned = parts.through_file(model)
        for layer, weights in zip(self.base.layers, before):
            layer.set_weights(weights)
        return learned


def head(random):
    """Return random `params.Train`, up to rates that make a head steep."""
    hidden = [[], [], [8], [64], [512], [1024], [32, 16], [64, 32, 16]]
    return params.Train(
        solver="gradient", penalties=[1], refit=False, input_dropout=0.0,
        weight_decay=None,
        hidden=hidden[random.integers(len(hidden))],
        dropout=float(random.choice([0.0, 0.5])),
        output=str(random.choice(["softmax", "logits"])),
        optimizer=str(random.choice(["Adam", "Adam", "SGD"])),
        learning_rate=float(10**random.uniform(-4, -0.5)),
        decay=str(random.choice(["cosine", "none"])), batch_size=16,
        epochs=int(random.integers(1, 13)), seed=int(random.integers(100)),
        patience=40, label_smoothing=float(random.choice([0.0, 0.1])),
        class_weights="none")
