#!/usr/bin/env python3
"""The head: normalised features in, one output per class."""
from scipy.special import softmax
from sklearn.preprocessing import StandardScaler

from stages.lib import params
from stages.lib.runtime import keras

FLOOR = 1e-3   # least standard deviation: see `normalization`
ROWS = 4096    # read at a time


def build(train, x, classes):
    """Return the untrained head, its input normalised by the rows of `x`.

    Args:
        train: `params.Train`.
        x: features of the train split, float (n, d).
        classes: number of outputs.

    Returns:
        keras.Model, float32 (n, d) -> (n, classes), probabilities or logits.
    """
    given = tensor = keras.Input(x.shape[1:], name="features")
    tensor = normalization(x)(tensor)
    for k, units in enumerate(train.hidden, start=1):
        tensor = keras.layers.Dense(units, activation="relu",
                                    name=f"head_hidden_{k}")(tensor)
        if train.dropout:
            tensor = keras.layers.Dropout(train.dropout,
                                          name=f"head_dropout_{k}")(tensor)
    activation = "softmax" if train.output == "softmax" else None
    tensor = keras.layers.Dense(classes, activation=activation,
                                name="head_output")(tensor)
    return keras.Model(given, tensor, name="head")


def normalization(x):
    """Return a layer that brings each feature of `x` to mean 0, variance 1.

    A feature that hardly varies is divided by `FLOOR` instead: float error
    of the backbone would otherwise be blown up to visible size.
    """
    scaler = StandardScaler()
    for k in range(0, len(x), ROWS):
        scaler.partial_fit(x[k:k + ROWS].astype("float64"))
    layer = keras.layers.Normalization(name="head_normalization")
    layer.build((None, *x.shape[1:]))
    layer.set_weights([scaler.mean_, scaler.var_.clip(min=FLOOR**2), 0])
    layer.finalize_state()
    return layer


def gives_logits(model):
    """Tell whether the last layer of `model` is linear."""
    return model.layers[-1].activation is keras.activations.linear


def loss(model, one_hot):
    """Return the cross-entropy that fits the last layer of `model`.

    Args:
        model: a head, or a model that ends with one.
        one_hot: labels are (n, classes) rather than (n,).
    """
    kind = (keras.losses.CategoricalCrossentropy if one_hot
            else keras.losses.SparseCategoricalCrossentropy)
    return kind(from_logits=gives_logits(model))


def optimizer(train, steps=None):
    """Return the optimizer, with cosine decay over `steps` if demanded."""
    rate = train.learning_rate
    if steps and train.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return params.optimizers()[train.optimizer](learning_rate=rate)


def probabilities(model, x):
    """Return what the head `model` says of the features `x`.

    Args:
        model: a head, with softmax or logits.
        x: float (n, d).

    Returns:
        float64 (n, classes), rows that sum to 1.
    """
    return normalised(model, model.predict(x.astype("float32"),
                                           batch_size=1024, verbose=0))


def normalised(model, output):
    """Return probabilities, float64 (n, classes), from `model`'s output."""
    output = output.astype("float64")
    if gives_logits(model):
        return softmax(output, axis=1)
    return output / output.sum(axis=1, keepdims=True)
