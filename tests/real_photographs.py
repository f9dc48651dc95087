#!/usr/bin/env python3
"""The pipeline on real photographs, against logistic regression.

Usage: tests/real_photographs.py [SIDE ...]

The default side is 150.  Needs ../shared/data, like real_data.py.
"""
import json
import os
import sys

import numpy as np
import real_data
from conftest import ROOT
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = os.path.realpath(os.path.join(real_data.DATA, "clothing"))
MODEL = "clothing.h5"
SETTINGS = ["resize.mode=crop", "train.output=logits", f"fuse.output={MODEL}"]
IMAGES = 20    # predicted from their files


def logistic(train, validation):
    """Return the validation accuracy of scikit-learn's logistic regression.

    Each split is (features, labels).  The better of plain and normalised
    features, with scikit-learn's defaults.
    """
    plain = LogisticRegression(max_iter=5000)
    return max(model.fit(*train).score(*validation) for model in (
        plain, make_pipeline(StandardScaler(), plain)))


def difference(project, features):
    """Return how far `commands.predict_images` is from head(cached features).

    The largest difference of a probability, over `IMAGES` photographs.

    Args:
        features: of the validation split.
    """
    sys.path.insert(0, ROOT)
    from stages.lib.common import image_table, keras_runtime
    from stages.lib.training import head
    images = [row["image"] for row in image_table.read(
        project.file("data/prepared/validation_rows.npy"))]
    rows = np.linspace(0, len(images) - 1, IMAGES).astype(int)
    done = project.run(
        f"python -m commands.predict_images {MODEL} --json --top 99 "
        + " ".join(f"{FOLDER}/{images[k]}" for k in rows))
    assert done.returncode == 0, done.stdout
    with open(project.file("data/prepared/dataset.json"),
              encoding="utf-8") as file:
        names = json.load(file)["class_names"]
    own = head.probabilities(keras_runtime.load_model(
        project.file("models/head.h5")), features[rows])
    return max(abs(best["probability"] - p[names.index(best["class"])])
               for one, p in zip(json.loads(done.stdout), own)
               for best in one["top"])


def main():
    """Run the pipeline at each side; fail if it is worse."""
    if not real_data.available():
        return
    weights = os.path.join(real_data.DATA, "weights", real_data.WEIGHTS)
    for side in sys.argv[1:] or ["150"]:
        project = real_data.experiment(FOLDER, os.path.realpath(weights),
                                       *SETTINGS, f"resize.side={side}")
        splits = [(np.load(project.file(f"features/{split}_x.npy")),
                   np.load(project.file(f"data/prepared/{split}_y.npy")))
                  for split in ("train", "validation")]
        with open(project.file("results/metrics.json"),
                  encoding="utf-8") as file:
            metrics = json.load(file)
        baseline = logistic(*splits)
        off = difference(project, splits[1][0])
        print(f"photographs at {side}: {len(splits[0][1])} of train; "
              f"logistic regression {baseline:.4f}; predict off by {off:.2g}; "
              f"{json.dumps(metrics)}")
        if metrics["validation"]["accuracy"] < baseline - 0.01 or off > 1e-4:
            sys.exit("photographs: FAILED: at most 0.01 less accuracy than "
                     "logistic regression, and 1e-4, are required")
    print("photographs: PASSED")


if __name__ == "__main__":
    main()
