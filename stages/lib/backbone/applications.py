#!/usr/bin/env python3
"""The functions that build applications: those of Keras, and two of our own.
"""
import sys

from stages.lib.backbone import alexnet, simple_cnn
from stages.lib.common.keras_runtime import keras

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
