#!/usr/bin/env python3
"""The handwritten digits of scikit-learn, as 32 x 32 RGB images."""
from typing import List, Literal

import numpy as np

from stages.lib.params import params
from stages.lib.sources import dataset


class Descriptor(params.Group):
    """The keys of data/raw/digits.yaml."""

    kind: Literal["digits"]
    class_names: List[str]
    test_fraction: params.Fraction
    seed: params.Seed


def load(descriptor):
    """Return the `dataset.Arrays` of 1,797 images (32, 32, 3), split by class.

    The 8 x 8 images with grey levels 0..16 are enlarged four times, without
    interpolation, and stretched to 0..255.
    """
    from sklearn.datasets import load_digits    # 0.7 s, for digits only
    from sklearn.model_selection import train_test_split
    x, y = load_digits(return_X_y=True)
    x = np.rint(x.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    x = x.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=descriptor.test_fraction, stratify=y,
        random_state=descriptor.seed)
    return dataset.Arrays({"train": (x_train, y_train),
                           "test": (x_test, y_test)}, descriptor.class_names)
