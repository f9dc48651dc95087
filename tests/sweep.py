#!/usr/bin/env python3
"""Take every application through the pipeline's parts, on random weights.

Usage: tests/sweep.py [APPLICATION ...]

Of each: build at its least side, cut in the middle, extract, train one step
of tail and head, fuse, save, reload, compare.  What is done is kept in
build/sweep.json, so that the sweep goes on where it stopped; at the end
docs/applications.md is written.
"""
import json
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
DONE = os.path.join(ROOT, "build", "sweep.json")
TABLE = os.path.join(ROOT, "docs", "applications.md")
SIDES = (32, 48, 64, 71, 75, 96, 128, 224, 331)
SMALLEST = ["Xception", "VGG16", "ResNet50", "ResNet50V2", "InceptionV3",
            "InceptionResNetV2", "MobileNet", "MobileNetV2",
            "MobileNetV3Small", "DenseNet121", "NASNetMobile",
            "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "RegNetX002",
            "RegNetY002", "ResNetRS50", "AlexNet", "SimpleCNN"]
IMAGES = 6
DEEP = 40    # sums of a block and what it was given
ALLOWED = 1e-5    # of the largest feature
ABOUT = """# Every application

Written by `make sweep`: each class that `backbone.application` takes, with
random weights at the least of the sides {sides} that it accepts, cut at the
valid cut in the middle, through TensorFlow Lite where it can take the frozen
part. Differences are relative to the largest: of the engine to Keras; of the
reloaded fused model to the cached features; of its outputs, which are logits, to
head(cached features), after one step of training. The fused model is made of
what was trained, saved and loaded, and of a base that knows nothing of it; it must
hold what was learned to the bit. At most {allowed:g} is allowed, and
{probability:g} of outputs. Where random weights blow rounding up, brackets hold what
counts instead: of features three times the difference between Keras run eagerly
and as a graph; of outputs their difference to head(features of the fused model).

| application | side | cuts | cut | engine | engine - Keras | fused - cached | outputs |
|---|---|---|---|---|---|---|---|
"""    # noqa: E501: a table


def lively(model):
    """Draw kernels as He et al. (2015) do, so that features vary.

    With less variance in the deepest networks, where the sum of very many
    blocks would blow every rounding up.
    """
    blocks = sum("Add" in type(layer).__name__
                 for layer in model._flatten_layers())
    gain = 2 if blocks <= DEEP else 1
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        weights = layer.get_weights() if not hasattr(layer, "layers") else []
        if "Conv" in type(layer).__name__:
            layer.set_weights([
                random.normal(0, np.sqrt(gain / np.prod(
                    w.shape[:2] if w.shape[-1] == 1 else w.shape[:3])),
                    w.shape) if w.ndim == 4 else w for w in weights])
        if type(layer).__name__ == "Normalization" and weights:
            layer.finalize_state()


def built(application):
    """Return the application at its least side, and that side."""
    from stages.lib import backbone, params
    from stages.lib.errors import BackboneError
    for side in SIDES:
        given = params.Backbone(
            application=application, options={}, pooling="avg", cut="top",
            weights=os.path.join(ROOT, "models/weights/random.yaml"))
        try:
            return backbone.build(given, side), side
        except BackboneError as error:
            refused = error
    raise refused


def features(model):
    """Return the engine that took `model`, and the function that computes."""
    from stages.lib import engine
    from stages.lib.errors import EngineError
    try:
        return "tflite", engine.load("tflite", model, None).compute
    except EngineError:
        return "tensorflow", engine.load("tensorflow", model, None).compute


def relative(a, b):
    """Return the greatest difference in units of the largest of `b`."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def through(model, path):
    """Return `model` after it was saved at `path` and loaded from there."""
    from stages.lib.runtime import load_model, save_model
    save_model(model, path)
    loaded = load_model(path)
    os.unlink(path)
    return loaded


def differ(a, b):
    """Tell whether two lists of arrays differ."""
    return not all(map(np.array_equal, a, b))


def trained(base, top, before):
    """Tell whether `top` holds other weights of `base` than `before`."""
    tail = {layer.name: layer.get_weights() for layer in top.layers[1:]}
    return any(differ(tail.get(layer.name, weights), weights)
               for layer, weights in zip(base.layers, before))


def check(application, folder):
    """Return what came out for one application.

    Raises:
        AssertionError: a difference is too large, or features do not vary.
    """
    from stages import fuse
    from stages.lib import backbone, cuts, head, params, parity, tail
    from stages.lib.runtime import keras, start
    start(0)
    base, side = built(application)
    images = np.random.default_rng(0).integers(
        0, 256, (IMAGES, side, side, 3), dtype="uint8")
    pixels = images.astype("float32")
    lively(base)
    before = [layer.get_weights() for layer in base.layers]
    good = cuts.valid(base)
    cut = good[len(good) // 2].name
    part = backbone.frozen(base, cut)
    extractor = backbone.extractor(part, application)
    name, compute = features(extractor)
    cached = compute(images)
    expected = extractor(pixels, training=False).numpy()
    assert np.ptp(cached, axis=0).max() > 1e-6 * np.abs(cached).max()
    given = params.Train(
        hidden=[8], dropout=0.0, output="logits", optimizer="SGD",
        learning_rate=1e-6, decay="none", batch_size=IMAGES, epochs=1, seed=0,
        patience=1, label_smoothing=0.0, class_weights="none")
    vectors = head.outputs(backbone.tail(base, cut), cached)
    model = tail.join(base, cut, head.build(given, vectors, 3))
    model.compile(keras.optimizers.SGD(1e-6), head.loss(model),
                  run_eagerly=True)    # faster than a graph for one step
    model.train_on_batch(cached, np.eye(3)[np.arange(IMAGES) % 3])
    path = os.path.join(folder, f"{application}.h5")
    top = through(model, path)    # with layers of its own, as `fuse` gets it
    assert trained(base, top, before)
    for layer, weights in zip(base.layers, before):
        layer.set_weights(weights)
    reloaded = through(fuse.fuse(
        base, application, top, (side, side, 3), params.Resize(
            side=side, mode="stretch", antialias=False)), path)
    assert not any(differ(layer.get_weights(),
                          reloaded.get_layer(layer.name).get_weights())
                   for layer in top.layers[1:])
    both = keras.Model(reloaded.input, [
        parity.feature_tensor(reloaded, cut), reloaded.output])
    again, output = [tensor.numpy() for tensor in both(pixels)]
    of_head = head.outputs(top, cached)
    result = {"side": side, "cuts": len(good), "cut": cut, "engine": name,
              "engine_difference": relative(cached, expected),
              "fused_difference": relative(again, cached),
              "output_difference": relative(output, of_head)}
    allowed = ALLOWED
    if result["engine_difference"] > allowed:    # as far as Keras from Keras
        graph = extractor.predict(pixels, verbose=0)
        result["keras_difference"] = relative(graph, expected)
        allowed = 3 * result["keras_difference"]
    assert result["engine_difference"] <= allowed, result
    assert result["fused_difference"] <= allowed, result
    if result["output_difference"] > parity.TOLERANCE["float32"]:
        of_head = top(again, training=False).numpy()    # of its own features
        result["own_difference"] = relative(output, of_head)
    assert result.get("own_difference", result["output_difference"]) <= (
        parity.TOLERANCE["float32"]), result
    return result


def write_table(done):
    """Write docs/applications.md."""
    from stages.lib import parity
    rows = [f"| {name} | {r['side']} | {r['cuts']} | `{r['cut']}` | "
            f"{r['engine']} | {r['engine_difference']:.1e}"
            + (f" ({r['keras_difference']:.1e})"
               if "keras_difference" in r else "") + " | "
            f"{r['fused_difference']:.1e} | {r['output_difference']:.1e}"
            + (f" ({r['own_difference']:.1e})"
               if "own_difference" in r else "")
            + " |"
            if "side" in r else
            f"| {name} | FAILED: {r['error']} | | | | | | |"
            for name, r in sorted(done.items())]
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write(ABOUT.format(sides=", ".join(map(str, SIDES)),
                                allowed=ALLOWED,
                                probability=parity.TOLERANCE["float32"])
                   + "\n".join(rows) + "\n")


def main(given):
    """Check `given`, or all that are not done, each in its own process."""
    from stages.lib import names
    os.makedirs(os.path.dirname(DONE), exist_ok=True)
    if len(given) == 1:
        print(json.dumps(check(given[0], os.path.dirname(DONE))))
        return
    done = {}
    if os.path.exists(DONE):
        with open(DONE, encoding="utf-8") as file:
            done = json.load(file)
    for name in given or sorted(names.applications()):
        if "side" in done.get(name, ()):
            continue
        run = subprocess.run([sys.executable, __file__, name], cwd=ROOT,
                             text=True, capture_output=True, check=False)
        try:
            done[name] = json.loads(run.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            done[name] = {"error": " ".join(run.stderr.splitlines()[-1:])}
        print(name, json.dumps(done[name]), flush=True)
        with open(DONE, "w", encoding="utf-8") as file:
            json.dump(done, file, indent=1)
    write_table(done)
    failed = [name for name, result in done.items() if "side" not in result]
    if failed:
        sys.exit(f"sweep: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
