#!/usr/bin/env python3
"""The frozen part against Keras itself, for each way of scaling pixels."""
import inspect
import os
import sys

import numpy as np
import pytest
from conftest import ROOT

from stages.lib.backbone import applications, backbone
from stages.lib.common import keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.images import rescaling, views
from stages.lib.params import names, params

SIDE = 48
RESERVED = {"include_top", "weights", "input_tensor", "input_shape", "pooling",
            "classes", "classifier_activation", "include_preprocessing",
            "model_name"}    # set by this project, or not an option
IMAGENET = os.path.join(ROOT, "models", "weights", "imagenet.yaml")


def pixels():
    """Return 3 images, whole grey levels, float32 (3, SIDE, SIDE, 3)."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (3, SIDE, SIDE, 3)).astype("float32")


def ours(application, weights, side=SIDE):
    """Return the project's frozen features of `pixels`."""
    keras_runtime.reset(0)
    given = params.Backbone(application=application, options={},
                            weights=str(weights), pooling="avg", cut="top")
    model = backbone.extractor(backbone.frozen(backbone.build(
        given, side), "top"), application)
    assert not model.trainable_weights
    x = rescaling.rescale(pixels(), side)
    quiet = model(x, training=False).numpy()
    assert np.array_equal(quiet, model(x, training=True).numpy())
    assert np.ptp(quiet, axis=0).max() > 0
    return model, quiet


def keras_features(application, model, side=SIDE):
    """Return the features as Keras' documentation computes them."""
    module = sys.modules[getattr(keras.applications, application).__module__]
    x = module.preprocess_input(rescaling.rescale(pixels(), side).numpy())
    return model(x, training=False).numpy()


def initial(application, side=SIDE):
    """Return Keras' application with random weights: features vary."""
    keras_runtime.reset(0)
    model = getattr(keras.applications, application)(
        include_top=False, weights=None, pooling="avg",
        input_shape=(side, side, 3))
    random = np.random.default_rng(1)
    for layer in model.layers:
        if not layer.get_weights():
            continue
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([np.array([0.485, 0.456, 0.406]),
                               np.square([0.229, 0.224, 0.225]), 0])
            layer.finalize_state()
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([w * random.normal(1, 0.5, w.shape)
                               for w in layer.get_weights()])
    return model


def close(a, b):
    """Return whether features agree to 1e-5 of the largest."""
    return np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


def check_scaling(application, folder):
    """Compare weights from a file with Keras and its own scaling."""
    model = initial(application)
    model.save_weights(folder / "w.h5")
    expected = keras_features(application, model)
    assert close(ours(application, folder / "w.h5")[1], expected)


@pytest.mark.parametrize("application", ["MobileNet", "VGG16"])
def test_scaling(application, tmp_path):
    """Scaled to -1..1, and to BGR minus the mean: the features of Keras."""
    check_scaling(application, tmp_path)


def test_names_are_those_of_keras():
    """The tables of names and options equal what Keras has."""
    found = {name: value for name, value in vars(keras.applications).items()
             if name[0].isupper() and callable(value)}
    assert sorted(names.APPLICATIONS) == sorted([*found, *applications.OWN])
    for name in names.APPLICATIONS:
        taken = {option for option, parameter in inspect.signature(
            applications.function(name)).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD} - RESERVED
        assert sorted(names.options(name)) == sorted(taken), name
    base = keras.optimizers.Optimizer
    assert sorted(names.OPTIMIZERS) == sorted(
        name for name, value in vars(keras.optimizers).items()
        if isinstance(value, type) and issubclass(value, base)
        and value is not base)
    assert sorted(names.VIEW_PARTS) == sorted(views.PARTS)
