#!/usr/bin/env python3
"""Names that parameters may hold: applications, optimizers; help with others.

TensorFlow is imported only when a name is looked up: it takes seconds.
"""
import difflib


def applications():
    """Return name -> function of every class of Keras Applications, and ours.
    """
    from stages.lib.alexnet import AlexNet
    from stages.lib.runtime import keras
    from stages.lib.simple_cnn import SimpleCNN
    return {**{name: value for name, value in vars(keras.applications).items()
               if name[0].isupper() and callable(value)},
            "AlexNet": AlexNet, "SimpleCNN": SimpleCNN}


def optimizers():
    """Return name -> class of every optimizer of Keras."""
    from stages.lib.runtime import keras
    base = keras.optimizers.Optimizer
    return {name: value for name, value in vars(keras.optimizers).items()
            if isinstance(value, type) and issubclass(value, base)
            and value is not base}


def one_of(name, known):
    """Return `name` if it is in `known`, else raise a ValueError."""
    if name not in known:
        raise ValueError(unknown(name, known))
    return name


def unknown(name, known):
    """Return what to say of an unknown name: the nearest, then all."""
    near = difflib.get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown name {name!r}; {hint}known: {', '.join(sorted(known))}"
