#!/usr/bin/env python3
"""Compare transfer learning with the ConvNet from scratch.

A stage of compare/dvc.yaml.

In:  results/metrics.json           scores of transfer
     compare/results/convnet.json   scores of the ConvNet
     models/head.h5                 the trained part of transfer
     fuse.output                    the whole model of transfer
     compare/models/convnet.h5
     features/manifest.json         what was computed
     logs/timings.jsonl             seconds; not tracked
Out: compare/results/comparison.csv, comparison.png
"""
if not __package__:    # run as a file
    __import__("sys").path[0] += "/.."
    __import__("stages")    # checks this Python

import h5py

from stages.lib.common import (
    files, keras_runtime, manifest, model_seal, seals, stage, timings)
from stages.lib.params import params
from stages.lib.results import charts

CONVNET = "compare/models/convnet.h5"
COLUMNS = ["scored", "model", "split", "accuracy", "accuracy_low",
           "accuracy_high", "minutes", "parameters", "trained"]
SCORES = ("accuracy", "accuracy_low", "accuracy_high")


def parameters(path):
    """Return the number of weights in the Keras model at `path`, an `.h5`.

    Raises:
        ArtefactError: missing or damaged.
    """
    found = []
    model_seal.check(path)
    with h5py.File(path) as file:
        file["model_weights"].visititems(lambda _, item: found.append(
            item.size) if isinstance(item, h5py.Dataset) else None)
    return int(sum(found))


def trained(path):
    """Return the number of trainable weights of the model at `path`."""
    return sum(int(weight.shape.num_elements())
               for weight in keras_runtime.load_model(path).trainable_weights)


def transfer_seconds():
    """Return the seconds of extraction and training, or None.

    Extraction may be spread over several runs, or include removed images:
    seconds per image are multiplied by the rows of train and validation.
    """
    made = manifest.read()
    extracted = timings.find(manifest.digest(made["key"]))
    fitted = timings.find(files.digest(files.HEAD, "sha256"))
    if not extracted or not fitted:
        return None
    rows = sum(array["rows"] for path, array in made["arrays"].items()
               if path.endswith("_x.npy") and "/test_" not in path)
    return fitted[-1]["seconds"] + rows * (
        sum(line["seconds"] for line in extracted)
        / sum(line["images"] for line in extracted))


def convnet_seconds():
    """Return the seconds of training the ConvNet, or None."""
    fitted = timings.find(files.digest(CONVNET, "sha256"))
    return fitted[-1]["seconds"] if fitted else None


def main():
    """Write, print and draw the table."""
    rows = []
    seals.check("evaluate", "results/metrics.json")
    seals.check("convnet", "compare/results/convnet.json", project="compare/")
    for model, metrics, seconds, whole, learned in [
            ("transfer", "results/metrics.json", transfer_seconds(),
             params.read().fuse.output, files.HEAD),
            ("ConvNet", "compare/results/convnet.json", convnet_seconds(),
             CONVNET, CONVNET)]:
        if seconds is None:
            print(f"compare: {model}: no minutes: it was not trained here, "
                  f"or {timings.PATH} is gone")
        found = files.read_json(metrics)
        for split in ("validation", "test"):
            rows.append({
                "scored": f"{model}, {split}", "model": model, "split": split,
                **{name: found[split][name] for name in SCORES},
                "minutes": None if seconds is None else round(seconds / 60,
                                                              2),
                "parameters": parameters(whole), "trained": trained(learned)})
    files.write_csv("compare/results/comparison.csv", COLUMNS, (
        [row[name] for name in COLUMNS] for row in rows))
    charts.comparison(rows, "compare/results/comparison.png")
    for row in rows:
        print("compare: {scored}: accuracy {accuracy:.4f} ({accuracy_low:.4f}"
              "-{accuracy_high:.4f}), {minutes} minutes, {trained:,} of "
              "{parameters:,} parameters trained".format(**row))


if __name__ == "__main__":
    stage.run(main)
