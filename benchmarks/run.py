#!/usr/bin/env python3
"""Times the pipeline against training through the frozen backbone.

Usage: benchmarks/run.py [NAME ...]

Runs on real CIFAR-10 at the defaults (see tests/real_data.py), but with the
last layer alone, which is what the loop trains on; all in one run, because
machines differ and drift; medians of three runs.  Prints a table and writes
build/bench.json.  NAME picks some of: repro, update, million, rest, rate,
idle, extraction, tail, decoding; or, alone, gpu, which needs no data (--help).
"""
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import decoding as photographs  # noqa: E402
import engines  # noqa: E402
import gpu  # noqa: E402
import real_data  # noqa: E402
import scale  # noqa: E402
import stage  # noqa: E402
import tails  # noqa: E402
import whole  # noqa: E402
from conftest import environment  # noqa: E402

IMAGES = 2048        # measured, then scaled to the data set
EPOCHS = 20


def seconds(command, project, times=3):
    """Return the median seconds of running `command` in `project`."""
    return timed(lambda: subprocess.run(
        command, cwd=project.path, env=environment(), check=True,
        stdout=subprocess.DEVNULL), times)


def timed(function, times=3):
    """Return the median seconds of calling `function`."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def frozen(weights, side=160):
    """Return the frozen backbone at the defaults, with pixel scaling."""
    from stages.lib.backbone import backbone
    from stages.lib.params import params
    given = params.Backbone(application="MobileNet", options={"alpha": 0.75},
                            weights=weights, pooling="avg", cut="top")
    model = backbone.frozen(backbone.build(given, side), "top")
    return backbone.extractor(model, given.application)


def predict_rate(source, weights):
    """Return images per second of `Model.predict` with the frozen model."""
    import numpy as np
    from stages.lib.images import rescaling
    with np.load(source) as data:
        images = rescaling.rescale(data["x_train"][:IMAGES], 160).numpy()
    model = frozen(weights)
    model.predict(images[:64], verbose=0)
    return IMAGES / timed(lambda: model.predict(images, verbose=0))


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
    images = keras.Input((160, 160, 3))
    tensor = model(images, training=False)
    tensor = keras.layers.Dense(512, activation="relu")(tensor)
    tensor = keras.layers.Dropout(0.5)(tensor)
    whole = keras.Model(images, keras.layers.Dense(
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


def extraction(_project, source, weights):
    """Engines side by side, then the whole stage."""
    import numpy as np
    from stages.lib.images import rescaling
    with np.load(source) as data:
        images = rescaling.rescale(data["x_train"][:IMAGES], 160).numpy()
    table = engines.measure(frozen(weights), images.astype("uint8"))
    own = table["this project (tflite)"]["images_per_second"]
    return {"engines": table, "stage": stage.measure(source, weights, own)}


def tail(_project, source, weights):
    """An epoch on cached maps, against the frozen part in the loop."""
    import numpy as np
    from stages.lib.images import rescaling
    from stages.lib.params import params
    with np.load(source) as data:
        images = rescaling.rescale(data["x_train"][:IMAGES], 160).numpy()
        labels = data["y_train"][:IMAGES].ravel()
    given = params.read()
    given = given.model_copy(update={"backbone": given.backbone.model_copy(
        update={"weights": weights})})
    return tails.measure(given, images.astype("uint8"), labels)


def decoding(_project, _source, _weights):
    """Photographs from files to the side, against Keras' reader."""
    return photographs.measure()


def repro(_project, source, weights):
    """The whole of `dvc repro` against the forward pass; a new rate."""
    return whole.repro(source, weights)


def update(_project, source, weights):
    """20,000 JPEG files, and 5 more."""
    return whole.update(source, weights, 20000)


def million(_project, _source, _weights):
    """1,281,167 small images through all stages."""
    return scale.million()


BENCHMARKS = {"repro": repro, "update": update, "million": million,
              "rest": rest, "rate": rate, "idle": idle,
              "extraction": extraction, "tail": tail, "decoding": decoding}


def show(values, indent=2):
    """Print figures, groups of them below their name."""
    for key, value in values.items():
        if isinstance(value, dict):
            print(" " * indent + key)
            show(value, indent + 2)
        else:
            print(f"{' ' * indent}{key:42} {value:12.5g}")


def main(names):
    """Run the benchmarks `names`, or all."""
    os.chdir(ROOT)
    if names[:1] == ["gpu"]:
        show(gpu.main(names[1:]))
        return
    if not os.path.isdir(real_data.DATA):
        sys.exit("benchmarks: ../shared/data is missing")
    source, weights = real_data.unpack()
    results, project = {}, None
    for name in names or BENCHMARKS:
        if project is None and name in ("rest", "rate", "idle"):
            project = real_data.experiment(source, weights,
                                           "extract.layers=[top]")
        results[name] = BENCHMARKS[name](project, source, weights)
        print(f"\n{BENCHMARKS[name].__doc__.strip()}")
        show(results[name])
        sys.stdout.flush()
        with open("build/bench.json", "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main(sys.argv[1:])
