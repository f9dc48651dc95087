#!/usr/bin/env python3
"""CIFAR-10 as Keras downloads it."""
from typing import List, Literal

from stages.lib.common import errors
from stages.lib.params import params
from stages.lib.sources import dataset


class Descriptor(params.Group):
    """The keys of data/raw/cifar10.yaml."""

    kind: Literal["cifar10"]
    class_names: List[str]


def load(descriptor):
    """Return the `dataset.Arrays`: 50,000 and 10,000 images (32, 32, 3).

    Raises:
        SourceError: no network, and no earlier download.
    """
    from stages.lib.common.keras_runtime import keras
    try:
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:   # Keras raises a bare Exception
        raise errors.SourceError(
            "CIFAR-10 cannot be downloaded "
            f"({' '.join(str(error).split())}); use an .npz file with "
            "x_train, y_train, x_test, y_test, and set data.source to its path"
        ) from error
    return dataset.Arrays({"train": train, "test": test},
                          descriptor.class_names)
