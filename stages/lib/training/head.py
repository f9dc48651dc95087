#!/usr/bin/env python3
"""The head in Keras: normalised features in, one output for each class."""
import numpy as np
from tqdm import tqdm

from stages.lib.common import errors, files, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.training import numpy_head, temperature

FLOOR = 1e-3   # least standard deviation: see `normalization`
WIDTH = 768    # features up to which the learning rate holds: see `build`
ROWS = 4096    # read at a time
BATCH = 256    # of predictions


def build(train, x, classes):
    """Return the untrained head; its input is normalised by the rows of `x`.

    A step of Adam changes each weight by about the learning rate, so a unit
    changes in proportion to its inputs' number.  Before training by gradients,
    more than `WIDTH` features are scaled down accordingly: then one learning
    rate suits all widths (Yang et al., Tensor Programs V, 2022).

    Args:
        train: `params.Train`.
        x: features of the train split, float (n, d).
        classes: number of outputs.

    Returns:
        keras.Model, float32 (n, d) -> (n, classes), probabilities or logits.
    """
    inputs = tensor = keras.Input(x.shape[1:], name="features")
    scale = min(1, WIDTH / x.shape[1]) if train.solver == "gradient" else 1
    tensor = normalization(x, scale)(tensor)
    if train.input_dropout:
        tensor = keras.layers.Dropout(train.input_dropout,
                                      name="head_input_dropout")(tensor)
    for k, units in enumerate(train.hidden, start=1):
        tensor = keras.layers.Dense(units, activation="relu",
                                    name=f"head_hidden_{k}")(tensor)
        if train.dropout:
            tensor = keras.layers.Dropout(train.dropout,
                                          name=f"head_dropout_{k}")(tensor)
    activation = "softmax" if train.output == "softmax" else None
    tensor = keras.layers.Dense(classes, activation=activation,
                                name="head_output")(tensor)
    return keras.Model(inputs, tensor, name="head")


def normalization(x, scale):
    """Return a layer that gives each feature of `x` mean 0, deviation `scale`.

    A feature that hardly varies is divided by `FLOOR`: otherwise, rounding
    errors of the backbone would become visible.
    """
    from sklearn.preprocessing import StandardScaler    # only to train
    scaler = StandardScaler()
    for k in range(0, len(x), ROWS):
        scaler.partial_fit(x[k:k + ROWS].astype("float64"))
    layer = keras.layers.Normalization(name="head_normalization")
    layer.build((None, *x.shape[1:]))
    layer.set_weights([scaler.mean_,
                       scaler.var_.clip(min=FLOOR**2) / scale**2, 0])
    layer.finalize_state()
    return layer


def load(shape, classes):
    """Return the trained model: the head, or the tail and the head.

    Args:
        shape: of an image's features.
        classes: number of classes.

    Raises:
        ArtefactError: missing, damaged, or trained on other features.
    """
    model = keras_runtime.load_model(files.HEAD)
    numpy_head.check((model.input_shape[1:], model.output_shape[1]),
                     (shape, classes))
    return model


def gives_logits(model):
    """Return whether the last layer of `model` is linear."""
    return (getattr(model.layers[-1], "activation", None)
            is keras.activations.linear)


def loss(model, smoothing=0.0):
    """Return the cross-entropy that fits the last layer of `model`.

    Args:
        model: a head, or a model that ends with one; labels are one-hot.
        smoothing: share of a label that is spread over all classes, 0..1.
    """
    return keras.losses.CategoricalCrossentropy(
        from_logits=gives_logits(model), label_smoothing=smoothing)


def check_finite(history, rates="train.learning_rate, or "
                 "tail.learning_rate"):
    """Raise a TrainingError if a loss in `history` is not finite.

    `rates` names the parameters to lower.
    """
    if not np.isfinite([history["loss"], history["val_loss"]]).all():
        raise errors.TrainingError(f"the loss is not finite; lower {rates}")


def optimizer(name, rate, weight_decay=None):
    """Return the optimizer `name` of Keras.

    Args:
        name: one of `names.OPTIMIZERS`.
        rate: learning rate, a number or a schedule.
        weight_decay: share of each weight, times the rate, that a step takes
            away; only kernels of a head are included.  None: as Keras does.
    """
    if weight_decay is None:
        return getattr(keras.optimizers, name)(learning_rate=rate)
    found = getattr(keras.optimizers, name)(learning_rate=rate,
                                            weight_decay=weight_decay)
    found.exclude_from_weight_decay(var_names=[r"^(?!head_\w+/kernel)"])
    return found


def calibrate(model, x, labels):
    """Divide the logits of the trained `model` by its temperature; return it.

    Args:
        model: keras.Model that ends with a head; its last layer is changed.
        x, labels: features and labels, integer (n,), of validation.
    """
    # `model` may be compiled for many steps a call, which predict no batch
    plain = keras.Model(model.input, model.output)
    found = temperature.fit(probabilities(plain, x), labels)
    last = model.layers[-1]
    last.set_weights([weight / np.float32(found)
                      for weight in last.get_weights()])
    return found


def probabilities(model, x):
    """Return the predictions of a head, or of a tail and a head.

    Args:
        model: keras.Model, its output is softmax or logits.
        x: features, float (n, …), read in parts.

    Returns:
        float64 (n, classes), rows sum to 1.
    """
    return numpy_head.to_probabilities(outputs(model, x), gives_logits(model))


def outputs(model, x, title=None):
    """Return the output of `model` for each row of `x`, float32 (n, …).

    With a `title`, a terminal shows the progress.
    """
    found = []
    with tqdm(total=len(x), desc=title, unit="img",
              disable=None if title else True) as bar:
        for k in range(0, len(x), BATCH):
            rows = x[k:k + BATCH].astype("float32")
            found.append(model.predict_on_batch(rows))
            bar.update(len(rows))
    return np.concatenate(found)
