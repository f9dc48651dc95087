#!/usr/bin/env python3
"""Take one application through the pipeline's parts, on random weights.

Build it at its smallest side, cut it in the middle, extract, train one step of
tail and head, fuse, save, reload, compare; the same with all layers, pooled.
"""
import gc
import os
import subprocess
import tempfile

import numpy as np
import portable as strangers
from conftest import ROOT

from stages.lib.backbone import applications, backbone, cuts, layers
from stages.lib.common import errors, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.engines import engine
from stages.lib.fusing import formats, fused_model, model_parts
from stages.lib.params import params
from stages.lib.training import head, tail

RANDOM = os.path.join(ROOT, "models", "weights", "random.yaml")
SIDES = (32, 48, 64, 71, 75, 96, 128, 224, 331)
IMAGES = 6
DEEP = 40    # residual blocks
PARTS = ("cut", "layers", "export")    # of `check`
ALLOWED = 1e-5    # of the largest feature
ALLOWED_OUTPUT = 1e-4    # of the largest logit
FACTORS = (1, 1.2, 0.8, 1.4, 0.6)    # of kernels, until rounding is small


def lively(model):
    """Draw kernels as He et al. (2015) do, so that features vary.

    The deepest networks get less variance, because the sum of very many
    blocks would amplify rounding.
    """
    blocks = sum("Add" in type(layer).__name__
                 for layer in model._flatten_layers())
    gain = 2 if blocks <= DEEP else 1
    if blocks > DEEP and "resnet-rs" in model.name:    # amplifies most
        gain = 0.5 * DEEP / blocks
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
    """Return the application at its smallest side, and that side."""
    for side in SIDES:
        given = params.Backbone(
            application=application, options={}, pooling="avg", cut="top",
            weights=RANDOM)
        try:
            return backbone.build(given, side), side
        except errors.BackboneError as error:
            last_error = error
    raise last_error


def features(model):
    """Return the name of an engine that supports `model`, and its function."""
    try:
        return "tflite", engine.load("tflite", model, None).compute
    except errors.EngineError:
        return "tensorflow", engine.load("tensorflow", model, None).compute


def relative(a, b):
    """Return the largest difference, relative to the largest value of `b`."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def through_file(model):
    """Return `model` after it was saved and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.h5")
        keras_runtime.save_model(model, path)
        return keras_runtime.load_model(path)


def through_weights(model):
    """Return a temporary file with the weights of `model`, for Keras."""
    file = tempfile.NamedTemporaryFile(suffix=".h5")
    model.save_weights(file.name)
    return file


def differ(a, b):
    """Return whether two lists of arrays differ."""
    return not all(map(np.array_equal, a, b))


def learn(base, cut, cached):
    """Return tail and head after one step of training on `cached` maps.

    The result has its own layers, as in `fuse`; the layers of `base` get
    their previous weights again.
    """
    given = params.Train(
        solver="gradient", penalties=[1], refit=False, input_dropout=0.0,
        weight_decay=None,
        hidden=[8], dropout=0.0, output="logits", optimizer="SGD",
        learning_rate=1e-6, decay="none", batch_size=IMAGES, epochs=1, seed=0,
        patience=1, label_smoothing=0.0, class_weights="none")
    behind = backbone.tail(base, cut)
    model = tail.join(base, cut, head.build(
        given, head.outputs(behind, cached), 3))
    before = [layer.get_weights() for layer in base.layers]
    model.compile(keras.optimizers.SGD(1e-6), head.loss(model),
                  run_eagerly=True)    # faster than a graph for one step
    model.train_on_batch(cached, np.eye(3)[np.arange(IMAGES) % 3])
    learned = through_file(model)
    assert not behind.trainable_weights or any(
        differ(layer.get_weights(), weights)
        for layer, weights in zip(base.layers, before))
    for layer, weights in zip(base.layers, before):
        layer.set_weights(weights)
    return learned


def check(application, keras3=None, only=PARTS):
    """Return the measured differences of one application.

    Args:
        application: a key of `names.APPLICATIONS`, or a saved model.
        keras3: a Python with Keras 3, see `check_portable`.
        only: the parts to check; the largest applications need a process and
            its memory for each.

    Raises:
        AssertionError: a difference is too large, features do not vary, or
            the fused model lacks the trained weights.
    """
    keras_runtime.reset(0)
    base, side = built(application)
    images = np.random.default_rng(0).integers(
        0, 256, (IMAGES, side, side, 3), dtype="uint8")
    lively(base)
    result = {"side": side}
    if "cut" in only:
        with through_weights(base) as untrained:
            result.update(check_cut(base, application, images))
            gc.collect()    # gigabytes
            base.load_weights(untrained.name)    # training can make them large
    if "layers" in only:
        result.update(check_layers(base, application, images))
        gc.collect()
    if "export" in only:
        result["export"] = check_portable(base, application, images, keras3)
    return result


def check_cut(base, application, images):
    """Return what was measured with the cut in the middle.

    Args:
        base: the application; its tail is trained.
        application: its name.
        images: uint8 (k, side, side, 3).

    Raises:
        AssertionError: as `check`.
    """
    pixels, good = images.astype("float32"), cuts.valid(base)
    cut = good[len(good) // 2].name
    extractor = backbone.extractor(backbone.frozen(base, cut), application)
    name, compute = features(extractor)
    cached = compute(images)
    expected = extractor(pixels, training=False).numpy()
    assert np.ptp(cached, axis=0).max() > 1e-6 * np.abs(cached).max()
    top = learn(base, cut, cached)
    fused = through_file(fused_model.build(
        base, application, top, images.shape[1:], params.Resize(
            side=images.shape[1], mode="stretch", antialias=False)))
    assert not any(differ(layer.get_weights(),
                          fused.get_layer(layer.name).get_weights())
                   for layer in top.layers[1:])
    both = keras.Model(fused.input, [model_parts.feature_tensor(fused, cut),
                                     fused.output])
    again, output = [tensor.numpy() for tensor in both(pixels)]
    result = {"cuts": len(good), "cut": cut, "engine": name,
              "engine_difference": relative(cached, expected),
              "fused_difference": relative(again, cached),
              "output_difference": relative(output,
                                            head.outputs(top, cached))}
    allowed = ALLOWED
    if result["engine_difference"] > allowed:    # as between two runs of Keras
        graph = extractor.predict(pixels, verbose=0)
        result["keras_difference"] = relative(graph, expected)
        allowed = 3 * result["keras_difference"]
    assert result["engine_difference"] <= allowed, result
    assert result["fused_difference"] <= allowed, result
    if result["output_difference"] > ALLOWED_OUTPUT:
        result["own_difference"] = relative(
            output, top(again, training=False).numpy())
    assert result.get("own_difference", result["output_difference"]) <= (
        ALLOWED_OUTPUT), result
    return result


def check_portable(base, application, images, keras3):
    """Return how far the exported `.h5` file is from the fused model.

    Args:
        base: the application; its kernels may be changed.
        application: its name.
        images: uint8 (k, side, side, 3).
        keras3: a Python with Keras 3 that loads the file, too, or None.

    Raises:
        AssertionError: it has other layers than stock layers, or differs; or
            rounding changes as much as another image does.
    """
    pixels = images.astype("float32")
    inputs = keras.Input(base.output_shape[1:])
    fused = fused_model.build(
        base, application, keras.Model(inputs, keras.layers.Dense(
            3, name="head_output")(inputs)), pixels.shape[1:], params.Resize(
                side=pixels.shape[1], mode="stretch", antialias=False))
    last = fused.layers[-1]
    kernel, bias = last.get_weights()
    for before, factor in zip((1, *FACTORS), FACTORS):
        for layer in base._flatten_layers() if factor != before else ():
            if "Conv" in type(layer).__name__ and layer.get_weights():
                first, *rest = layer.get_weights()
                layer.set_weights([factor / before * first, *rest])
        last.set_weights([kernel, bias])
        output = fused(pixels, training=False).numpy()
        spread = np.ptp(output, axis=0).max()    # over images; then it is 1
        last.set_weights([kernel / spread, -output.mean(axis=0) / spread])
        expected = fused(pixels, training=False).numpy()
        rounding = np.abs(fused.predict(pixels, verbose=0) - expected).max()
        if rounding < 0.01:
            break
    allowed = max(ALLOWED_OUTPUT, 10 * rounding)
    assert allowed < 0.1, rounding
    found = formats.stock(fused)
    foreign = {type(layer).__name__ for layer in found.layers} & {
        "Lambda", "TFOpLambda", "SlicingOpLambda", "CustomScaleLayer"}
    assert not foreign, foreign
    p = keras.activations.softmax(keras.backend.constant(expected))
    result = {"rounding": float(rounding), "keras2": relative(
        found(pixels, training=False).numpy(), p)}
    if keras3:
        result["keras3"] = relative(in_keras3(keras3, fused, pixels), p)
    assert max(result["keras2"], result.get("keras3", 0)) <= allowed, result
    return result


def in_keras3(python, fused, pixels):
    """Return the probabilities of the `.h5` file of `fused` in Keras 3."""
    fused.compile("Adam", "categorical_crossentropy", ["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        model, x, y, out = [os.path.join(folder, name) for name in (
            "model.h5", "x.npy", "y.npy", "out.npy")]
        formats.h5(fused, model, ["a", "b", "c"], "stretch")
        np.save(x, pixels)
        np.save(y, np.arange(len(pixels)) % 3)
        subprocess.run(
            [python, "-I", "-c", strangers.KERAS, model, x, y, out],
            check=True, stdout=subprocess.DEVNULL, cwd=folder,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        return np.load(out)


def check_layers(base, application, images):
    """Return what was measured with `extract.layers` [all].

    Args:
        base: the application; images: uint8 (k, side, side, 3).

    Raises:
        AssertionError: a layer's columns differ too much from its output, or
            those of the fused model do; a part has other weights.
    """
    found = layers.resolve(base, ["all"])
    stages = layers.resolve(base, ["stages"])
    assert stages[-1] == found[-1] == "top" and set(stages) < set(found)
    wide = layers.join(base, found, "avg")
    columns = layers.columns(base, found)
    extractor = backbone.extractor(backbone.frozen(wide, "top"), application)
    cached = features(extractor)[1](images)
    plain = keras.Model(base.input, [
        base.output if name == "top"
        else base.get_layer(name).get_output_at(0) for name in found])
    pixels = applications.scaled(application, keras.backend.constant(images),
                                 "model")
    expected = [tensor.numpy().reshape(IMAGES, -1, tensor.shape[-1]).mean(1)
                for tensor in plain(pixels, training=False)]
    graph = extractor.predict(images.astype("float32"), verbose=0)
    fused = through_file(fused_model.build(
        wide, application, linear(cached), images.shape[1:], params.Resize(
            side=images.shape[1], mode="stretch", antialias=False)))
    inner = model_parts.Parts(fused, "top").frozen
    assert backbone.digest(inner) == backbone.digest(extractor)
    again = inner.predict(images.astype("float32"), verbose=0)
    worst = 0
    for (name, begin, end), one in zip(columns, expected):
        part = slice(begin, end)
        found = max(relative(each[:, part], one) for each in (cached, again))
        rounding = relative(graph[:, part], one)    # of Keras, and small
        assert found <= max(ALLOWED, 10 * rounding) < 1e-2, (name, found)
        worst = max(worst, found)
    return {"layers": len(columns), "stages": len(stages),
            "columns": columns[-1][2], "layer_difference": worst}


def linear(cached):
    """Return a linear head for the features `cached`, float32 (n, d)."""
    inputs = keras.Input(cached.shape[1:], name="features")
    tensor = keras.layers.Dense(3, name="head_output")(
        head.normalization(cached, 1.0)(inputs))
    return keras.Model(inputs, tensor, name="head")
