#!/usr/bin/env python3
"""Names that parameters accept: applications, optimizers, parts of views.

They are tables, because TensorFlow takes seconds to import.  A test compares
them with what Keras and `stages/lib` implement.
"""
import os
import re

from stages.lib.common import yaml_models

# Of the layers of a head, see `stages/lib/training/head.py`.
HEAD = re.compile(r"head_(normalization|input_dropout|output"
                  r"|(hidden|dropout)_\d+)")
# Option of an application -> the applications that take it.
OPTIONS = {
    "alpha": ("MobileNet", "MobileNetV2", "MobileNetV3Large",
              "MobileNetV3Small"),
    "depth_multiplier": ("MobileNet",),
    "dropout": ("MobileNet",),
    "dropout_rate": ("MobileNetV3Large", "MobileNetV3Small"),
    "minimalistic": ("MobileNetV3Large", "MobileNetV3Small"),
}
OWN = ("AlexNet", "SimpleCNN")    # not in Keras
APPLICATIONS = OWN + (
    "Xception", "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152",
    "ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3",
    "InceptionResNetV2", "MobileNet", "MobileNetV2", "MobileNetV3Large",
    "MobileNetV3Small", "DenseNet121", "DenseNet169", "DenseNet201",
    "NASNetLarge", "NASNetMobile",
    *(f"EfficientNetB{k}" for k in range(8)),
    *(f"EfficientNetV2{k}" for k in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *(f"ConvNeXt{k}" for k in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"RegNet{kind}{size}" for kind in "XY" for size in (
        "002", "004", "006", "008", "016", "032", "040", "064", "080", "120",
        "160", "320")),
    *(f"ResNetRS{k}" for k in (50, 101, 152, 200, 270, 350, 420)))
OPTIMIZERS = ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
              "Ftrl", "Lion", "Nadam", "RMSprop", "SGD")
SAVED = (".h5", ".hdf5", ".keras")    # files of a whole model
TABLES = (".csv", ".tsv", ".parquet")    # of paths of photographs
IDENTITY = "identity"    # the view that changes nothing
VIEW_PARTS = ("hflip", "up", "down", "left", "right", "zoom")


def is_saved_model(application):
    """Return whether `application` is a path of a saved Keras model."""
    return (application.endswith(SAVED) or os.sep in application
            or os.path.isdir(application))


def options(application):
    """Return the names of the options that an application takes."""
    return [name for name, takers in OPTIONS.items() if application in takers]


def view_parts(view):
    """Return the parts of a view such as `hflip+up`; none for `identity`.

    Raises:
        ValueError: a part is unknown.
    """
    parts = [] if view == IDENTITY else view.split("+")
    for name in parts:
        if name not in VIEW_PARTS:
            raise ValueError(f"unknown view {view!r}; known: {IDENTITY}, or "
                             f"joined by +: {', '.join(VIEW_PARTS)}")
    return parts


def one_of(name, known):
    """Return `name` if it is in `known`, else raise a ValueError."""
    if name not in known:
        raise ValueError(yaml_models.unknown_name(name, known))
    return name
