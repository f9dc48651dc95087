#!/usr/bin/env python3
"""The functions that build applications: those of Keras, and two of our own.
"""
import sys

from stages.lib.backbone import alexnet, simple_cnn
from stages.lib.common.keras_runtime import keras
from stages.lib.params import names

OWN = {"AlexNet": alexnet.AlexNet, "SimpleCNN": simple_cnn.SimpleCNN}


def function(name):
    """Return the function that builds the application `name`.

    Args:
        name: one of `names.APPLICATIONS`.
    """
    return OWN.get(name) or getattr(keras.applications, name)


def module(name):
    """Return the module that defines an application and its scaling."""
    return sys.modules[function(name).__module__]


def scaled(application, pixels, scaling):
    """Return what the first layer of a backbone expects of `pixels`.

    Args:
        application: as in `params.Backbone`.
        pixels: tensor (n, h, w, 3), RGB 0..255.
        scaling: "model": as the application's module does; a saved model gets
            0..255.  "tf": -1..1; "caffe": BGR, less the mean of ImageNet;
            "torch": 0..1, less the mean, divided by the deviation.
    """
    if scaling != "model":
        return keras.applications.imagenet_utils.preprocess_input(
            pixels, mode=scaling)
    if names.is_saved_model(application):
        return pixels
    return module(application).preprocess_input(pixels)
