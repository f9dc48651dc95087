#!/usr/bin/env python3
"""Times the pipeline against training through the frozen backbone.

Usage: benchmarks/run.py [NAME ...]

Runs on real CIFAR-10 at the defaults (see tests/real_data.py); all in one
run, because machines differ and drift.  Prints a table and writes
build/bench.json.  NAME picks some of: repro, update, million, rest, rate,
idle, extraction, tail, decoding; or, alone, gpu, which needs no data (--help).
"""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
__import__("stages")    # checks this Python

import decoding as photographs  # noqa: E402
import engines  # noqa: E402
import gpu  # noqa: E402
import loop  # noqa: E402
import real_data  # noqa: E402
import scale  # noqa: E402
import stage  # noqa: E402
import tails  # noqa: E402
import whole  # noqa: E402


def extraction(_project, source, weights):
    """Engines side by side, then the whole stage."""
    images, _ = loop.images(source)
    table = engines.measure(loop.frozen(weights), images)
    own = table["this project (tflite)"]["images_per_second"]
    return {"engines": table, "stage": stage.measure(source, weights, own)}


def tail(_project, source, weights):
    """An epoch on cached maps, against the frozen part in the loop."""
    from stages.lib.params import params
    given = params.read()
    given = given.model_copy(update={"backbone": given.backbone.model_copy(
        update={"weights": weights})})
    return tails.measure(given, *loop.images(source))


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
              "rest": loop.rest, "rate": loop.rate, "idle": loop.idle,
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
            project = real_data.experiment(source, weights, *loop.SETTINGS)
        results[name] = BENCHMARKS[name](project, source, weights)
        print(f"\n{BENCHMARKS[name].__doc__.strip()}")
        show(results[name])
        sys.stdout.flush()
        with open("build/bench.json", "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main(sys.argv[1:])
