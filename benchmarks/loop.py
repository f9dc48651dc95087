#!/usr/bin/env python3
"""The pipeline against training through the frozen backbone in the loop.

Both with the last layer alone and as many epochs.
"""
import statistics
import subprocess

from conftest import environment
from tails import timed

IMAGES = 2048        # measured, then scaled to the data set
EPOCHS = 20
SETTINGS = ("extract.layers=[top]", f"train.epochs={EPOCHS}")


def seconds(command, project, times=3):
    """Return the median seconds of running `command` in `project`."""
    return timed(lambda: subprocess.run(
        command, cwd=project.path, env=environment(), check=True,
        stdout=subprocess.DEVNULL), times)


def frozen(weights, side=160):
    """Return the frozen backbone at the defaults, with pixel scaling."""
    from stages.lib.backbone import backbone
    from stages.lib.params import params
    given = params.Backbone(application="MobileNet", options={"alpha": 0.75},
                            weights=weights, pooling="avg", cut="top")
    model = backbone.frozen(backbone.build(given, side), "top")
    return backbone.extractor(model, given.application)


def images(source, side=160):
    """Return the first images of train, uint8 at `side`, and their labels."""
    import numpy as np
    from stages.lib.images import rescaling
    with np.load(source) as data:
        return (rescaling.rescale(data["x_train"][:IMAGES], side).numpy()
                .astype("uint8"), data["y_train"][:IMAGES].ravel())


def predict_rate(source, weights):
    """Return images per second of `Model.predict` with the frozen model."""
    x = images(source)[0].astype("float32")
    model = frozen(weights)
    model.predict(x[:64], verbose=0)
    return IMAGES / timed(lambda: model.predict(x, verbose=0))


def in_the_loop(source, weights):
    """Return seconds an image of `fit` with the frozen backbone in the loop.

    tf.data, batches of 128, images scaled up on the way, the default head.
    """
    import numpy as np
    from stages.lib.common.keras_runtime import keras, tf
    from stages.lib.images import rescaling
    with np.load(source) as data:
        x, y = data["x_train"][:2000], data["y_train"][:2000].ravel()
    model = frozen(weights)
    pixels = keras.Input((160, 160, 3))
    tensor = model(pixels, training=False)
    tensor = keras.layers.Dense(512, activation="relu")(tensor)
    tensor = keras.layers.Dropout(0.3)(tensor)
    whole = keras.Model(pixels, keras.layers.Dense(
        10, activation="softmax")(tensor))
    whole.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(2000).batch(
        128).map(lambda a, b: (rescaling.rescale(a, 160), b),
                 num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    whole.fit(batches, verbose=0)
    return timed(lambda: whole.fit(batches, verbose=0)) / len(x)


def rest(project, source, weights):
    """Everything but extract, against `Model.predict` of all images."""
    stages = {name: seconds(["dvc", "repro", "--single-item", "--force",
                             name], project)
              for name in ("prepare", "resize", "train", "fuse", "evaluate")}
    total = sum(stages.values())
    speed = predict_rate(source, weights)
    return {**stages, "total": total, "predict_images_per_second": speed,
            "predict_60000_images": 60000 / speed,
            "ratio_at_most_1": total * speed / 60000}


def rate(project, source, weights):
    """A new learning rate, against training with the backbone in the loop."""
    path = project.file("params.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    taken = []
    for value in ("0.0021", "0.0019", "0.0022"):
        changed = text.replace("learning_rate: 0.002",
                               f"learning_rate: {value}")
        assert changed != text
        with open(path, "w", encoding="utf-8") as file:
            file.write(changed)
        taken.append(seconds(["dvc", "repro"], project, times=1))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    seconds(["dvc", "repro"], project, times=1)
    image = in_the_loop(source, weights)
    loop = image * 45000 * EPOCHS
    return {"repro_seconds": statistics.median(taken),
            "loop_images_per_second": 1 / image, "loop_seconds": loop,
            "ratio_at_least_60": loop / statistics.median(taken)}


def idle(project, _source, _weights):
    """`dvc repro` with nothing to do, against `dvc status`."""
    repro = seconds(["dvc", "repro"], project)
    status = seconds(["dvc", "status"], project)
    return {"repro_seconds": repro, "status_seconds": status,
            "ratio": repro / status}
