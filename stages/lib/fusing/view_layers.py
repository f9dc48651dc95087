#!/usr/bin/env python3
"""The layers with which a fused model averages over views of its images.

Docstrings of `show` and `average` are part of the bytes of such a model.
"""
from stages.lib.images import rescaling

SHOW = "views"    # name of the first layer


def show(images, views):
    """Show each of the `views` of images, one below the other.

    The body needs nothing from outside: its bytecode travels in the `.h5`
    file.

    Args:
        images: float32 (n, side, side, 3), whole values 0..255.
        views: names, as extract.views.

    Returns:
        float32 (views * n, side, side, 3): n images of the first view, then
        of the second.
    """
    import tensorflow as tf
    side, result = images.shape[1], []
    for view in views:
        seen = images
        for part in view.split("+"):
            if part == "hflip":
                seen = seen[:, :, ::-1]
            elif part == "zoom":
                edge = side // 16
                seen = tf.round(tf.image.resize(
                    seen[:, edge:side - edge, edge:side - edge], (side, side)))
            elif part != "identity":
                step = side // 8 * (1 if part in ("up", "left") else -1)
                rows = abs(tf.range(side) + step)
                seen = tf.gather(seen, tf.minimum(rows, 2 * side - 2 - rows),
                                 axis=1 if part in ("up", "down") else 2)
        result.append(seen)
    return tf.concat(result, axis=0)


def average(probabilities, count):
    """Return the mean over views.

    Args:
        probabilities: float32 (count * n, classes), ordered as by `show`.
        count: how many views.

    Returns:
        float32 (n, classes).
    """
    import tensorflow as tf
    return tf.reduce_mean(tf.reshape(
        probabilities, (count, -1, probabilities.shape[-1])), axis=0)


def show_layer(**arguments):
    """Return `show` with these `arguments` as a Lambda layer."""
    return rescaling.bytecode_layer(show, SHOW, arguments)


def average_layer(**arguments):
    """Return `average` with these `arguments` as a Lambda layer."""
    return rescaling.bytecode_layer(average, "mean_of_views", arguments)
