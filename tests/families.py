#!/usr/bin/env python3
"""Applications of all families: `.ci/run` runs these tests, behind the suite.

They take minutes.  Usage: python -m pytest tests/families.py
"""
import numpy as np
import parts
import pytest
from test_backbone import (
    IMAGENET, SIDE, check_scaling, close, initial, keras_features, ours,
    pixels)

from stages.lib.backbone import backbone
from stages.lib.common import keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.fusing import fused_model, safe_loading
from stages.lib.params import params

SMALLEST = ["Xception", "VGG16", "ResNet50", "ResNet50V2", "InceptionV3",
            "InceptionResNetV2", "MobileNet", "MobileNetV2",
            "MobileNetV3Small", "DenseNet121", "NASNetMobile",
            "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "RegNetX002",
            "RegNetY002", "ResNetRS50", "AlexNet", "SimpleCNN"]


@pytest.mark.parametrize("application", ["DenseNet121", "EfficientNetV2B0"])
def test_scaling(application, tmp_path):
    """Scaled as in PyTorch, and not at all: the features of Keras."""
    check_scaling(application, tmp_path)


def test_efficientnet_scales_twice(tmp_path, monkeypatch):
    """The layer that Keras adds to its download has an effect here, too."""
    application = "EfficientNetB0"
    model = initial(application)
    model.save_weights(tmp_path / "w.h5")
    monkeypatch.setattr("keras.src.utils.data_utils.get_file",
                        lambda *_, **__: str(tmp_path / "w.h5"))
    keras_runtime.reset(0)
    theirs = getattr(keras.applications, application)(
        include_top=False, weights="imagenet", pooling="avg",
        input_shape=(SIDE, SIDE, 3))
    expected = keras_features(application, theirs)
    assert not close(keras_features(application, model), expected)
    assert close(ours(application, IMAGENET)[1], expected)
    assert close(ours(application, tmp_path / "w.h5")[1], expected)


def test_convnext_reloads(tmp_path):
    """ConvNeXt has stock layers only: a fresh process can load its file."""
    model = initial("ConvNeXtTiny")
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.set_weights([np.linspace(0.5, 1, layer.projection_dim)])
    model.save_weights(tmp_path / "w.h5")
    expected = keras_features("ConvNeXtTiny", model)
    extractor, features = ours("ConvNeXtTiny", tmp_path / "w.h5")
    assert close(features, expected)
    keras_runtime.save_model(extractor, str(tmp_path / "m.h5"))
    reloaded = keras_runtime.load_model(str(tmp_path / "m.h5"))
    assert close(reloaded.predict(pixels(), verbose=0), expected)


@pytest.mark.parametrize("application", SMALLEST)
def test_parts(application):
    """The smallest of each family passes all parts of the pipeline."""
    parts.check(application)


def test_saved_model(tmp_path):
    """A saved model goes through the same parts."""
    keras_runtime.reset(0)
    path = str(tmp_path / "saved.keras")
    keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None,
        input_shape=(32, 32, 3)).save(path)
    parts.check(path)


@pytest.mark.parametrize("application", SMALLEST)
def test_fused_model_is_trusted(application, tmp_path):
    """`predict_images` accepts the layers of each family."""
    keras_runtime.reset(0)
    base = backbone.build(params.Backbone(
        application=application, weights="models/weights/random.yaml",
        options={"alpha": 0.25} if application == "MobileNet" else {},
        pooling="avg", cut="top"), 96)
    features = keras.Input(base.output_shape[1:])
    top = keras.layers.Dense(3, name="head_output")(features)
    model = fused_model.build(
        base, application, keras.Model(features, top), (32, 32, 3),
        params.Resize(side=96, mode="stretch", antialias=False))
    keras_runtime.save_model(model, str(tmp_path / "m.h5"))
    safe_loading.check(str(tmp_path / "m.h5"))
