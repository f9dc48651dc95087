#!/usr/bin/env python3
"""The Parquet file of features and findings: content, bytes, bad input."""
import hashlib
import io
import json
import sys

import numpy as np
import pyarrow.parquet as pq
from conftest import stage
from PIL import Image
from test_inspect import INSPECT, array, change, clusters, flipped

from stages.lib.common import files, manifest
from stages.lib.images import prepared
from stages.lib.inspection import parquet

OUT = "build/features.parquet"
WORDS = ("--parquet", OUT, "--projection", "pca", "--points", "60",
         "--false-suspects", "1")


def test_content(project, monkeypatch):
    """Rows, features and planted findings come back; twice the same bytes."""
    y, x = clusters(project)
    tables = array(project, "features/train_rows")
    same = np.flatnonzero(y["test"] == y["train"][5])[0]
    tables["image"][5] = array(project, "features/test_rows")["image"][same]
    x["train_x"][5] = x["test_x"][same]
    x["train_x"][8] = x["train_x"][9]
    x["train_x"][100, 3] = np.inf
    wrong = [10, 20, 40, 50, 60]
    labels = flipped(y["train"], wrong)
    change(project, monkeypatch, train_rows=tables, train_y=labels, **x)
    monkeypatch.setattr(parquet, "ROWS", 64)
    digests = set()
    for _ in range(2):
        assert stage(project, monkeypatch, INSPECT, *WORDS) is None
        digests.add(files.digest(OUT, "sha256"))
    assert len(digests) == 1
    file = pq.ParquetFile(OUT)
    assert file.num_row_groups == 3 + 1 + 2    # of 180, 20 and 100 rows
    metadata = file.schema_arrow.metadata
    assert json.loads(metadata[b"key"]) == manifest.read()["key"]
    assert json.loads(metadata[b"doctor"])["points"] == 60
    table = file.read()
    rows = table.drop_columns(["features"]).to_pylist()
    assert [(one["id"], one["split"], one["row"]) for one in rows] == list(zip(
        range(300), np.repeat(files.SPLITS, [180, 20, 100]),
        [*range(180), *range(20), *range(100)]))
    features = np.stack(table["features"].combine_chunks().to_numpy(False))
    np.testing.assert_array_equal(features, np.concatenate(
        [x[f"{split}_x"] for split in files.SPLITS]))
    flagged = {name: [one["id"] for one in rows if one[name]] for name in (
        "leak", "duplicate")}
    assert flagged == {"leak": [5, 200 + same], "duplicate": [8, 9]}
    suspected = sorted((one for one in rows if one["suspected_label"]),
                       key=lambda one: one["label_score"])
    assert {one["id"] for one in suspected[:5]} == set(wrong)
    assert all((one["label_score"] is not None) == one["suspected_label"]
               for one in rows)    # of all, since all may be false
    far = [one["similarity"] for one in rows if one["far"]]
    assert len(far) == 10 and max(far) < np.median([
        one["similarity"] for one in rows if one["similarity"]])
    check_row(rows[17], labels, array(project, "data/prepared/train_x"))
    bad = rows[100]
    assert [bad[name] for name in ("x", "y", "similarity", "neighbours")] == [
        None, None, None, {"ids": [], "distances": []}]
    assert all(one["x"] is not None for one in rows if one is not bad)
    assert rows[200 + same]["neighbours"] == rows[5]["neighbours"]


def check_row(row, labels, pixels):
    """Compare row 17 of train with the arrays of the project."""
    name = str(labels[17])
    assert row["label"] == labels[17] and row["label_name"] == name
    assert row["path"] == prepared.rows("train")[17]["image"]
    assert row["sha256"] == hashlib.sha256(pixels[17]).hexdigest()
    picture = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
    assert np.abs(picture.astype(int) - pixels[17]).mean() < 10
    assert 0 < row["probability"] <= 1
    assert row["predicted_name"] == str(row["predicted"])
    assert abs(sum(row["belief"]) - 1) < 1e-5 and len(row["belief"]) == 10
    assert np.argmax(row["belief"]) == labels[17]
    assert row["label_score"] is None    # its class is preferred
    near, distances = row["neighbours"].values()
    assert len(near) == len(distances) == 10 and 17 not in near
    assert {labels[k] for k in near} == {labels[17]}
    assert distances == sorted(distances)


def test_without_head_or_package(project, monkeypatch, capsys):
    """Without a head, predictions are null; without pyarrow, one line."""
    monkeypatch.chdir(project.path)
    for path in ("models/head.h5", "data/prepared/train_rows.npy"):
        with monkeypatch.context() as patch:
            patch.setattr(files, "HEAD", "models/none.h5")
            if path.endswith("npy"):
                with open(path, "ab") as file:
                    file.write(b" ")
            error = stage(project, patch, INSPECT, *WORDS)
        rows = pq.read_table(OUT, columns=["predicted", "probability"])
        assert rows["predicted"].null_count == 300
        assert rows["probability"].null_count == 300
    assert error.startswith("inspect_features: data/prepared/train_rows.npy: ")
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert stage(project, monkeypatch, INSPECT, *WORDS) == 2
    assert capsys.readouterr().err == (
        "inspect_features: --parquet needs a package: pip install pyarrow; "
        "see --help\n")
