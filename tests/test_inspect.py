#!/usr/bin/env python3
"""The doctor of cached features finds what was planted, and no more."""
import json
import os
import re
import subprocess
import urllib.request

import numpy as np
import pytest
from conftest import CLASSES, environment, relist, stage
from PIL import Image

from compare import convnet
from stages.lib.common import errors, files, manifest, seals
from stages.lib.inspection import (
    cached_features, difference, neighbours, sprite)

INSPECT = "commands.inspect_features"
OFFLINE = ('<script src="vega.js"></script><script src="vega-lite.js">'
           '</script><script src="vega-embed.js"></script>{plot_divs}')


def inspect(project, monkeypatch, capsys, *words):
    """Return the findings, and the error line of the command."""
    capsys.readouterr()
    error = stage(project, monkeypatch, INSPECT, "--json", *words)
    return json.loads(capsys.readouterr().out), error


def change(project, monkeypatch, **arrays):
    """Write other arrays, as `train_x=…`, and a manifest that fits them."""
    monkeypatch.chdir(project.path)
    for name, array in arrays.items():
        folder = "data/prepared" if name.endswith("_y") else "features"
        os.unlink(f"{folder}/{name}.npy")    # it may be a hard link
        np.save(f"{folder}/{name}.npy", array)
    old = manifest.read()
    described = {path: {**one, "sha256": files.digest(path, "sha256")}
                 for path, one in old["arrays"].items()}
    os.unlink(manifest.PATH)
    manifest.write(old["key"], old["class_names"], described)
    seals.write("stages/prepare.py")


def array(project, name):
    """Return a writable copy of an array, as "features/train_x"."""
    return np.array(np.load(project.file(f"{name}.npy")))


def flipped(labels, rows):
    """Return a copy of `labels`, with other classes in `rows`."""
    changed = labels.copy()
    changed[rows] = (changed[rows] + 3 + np.arange(len(rows)) % 5) % CLASSES
    return changed


def clusters(project, spread=0.5):
    """Return labels by split, and features near class centres."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CLASSES, 256))
    y = {split: array(project, f"data/prepared/{split}_y")
         for split in files.SPLITS}
    return y, {f"{split}_x": (centres[labels] + random.normal(
        0, spread, (len(labels), 256))).astype("float32")
        for split, labels in y.items()}


def test_planted(project, monkeypatch, capsys):
    """Dead and NaN dimensions, a NaN row, copies: named, and nothing else."""
    y, x = clusters(project)
    tables = {split: array(project, f"features/{split}_rows")
              for split in files.SPLITS}
    change(project, monkeypatch, **x)
    found, error = inspect(project, monkeypatch, capsys, "--fail-on",
                           "nan,dead,leaks,duplicates,label_errors")
    assert error is None
    assert min(found["accuracy"].values()) == 1
    assert [one["rows"] for one in found["arrays"]] == [180, 20, 100]
    x["train_x"][[5, 6]] = x["test_x"][[50, 51]]
    tables["train"]["image"][[5, 6]] = tables["test"]["image"][[50, 51]]
    x["train_x"][9] = x["train_x"][8]    # other pixels, the same features
    for one in x.values():
        one[:, 7] = 1.5
        one[:, 11] = np.nan
    x["train_x"][100, 3] = np.inf
    change(project, monkeypatch, train_rows=tables["train"], **x)
    found, error = inspect(project, monkeypatch, capsys, "--fail-on",
                           "nan,dead,leaks")
    assert error == (
        "inspect_features: found what --fail-on names: nan 300, dead 3, "
        "leaks 2")
    for one in found["arrays"]:
        assert one["dead"] == [7] and one["nan"] == [11]
    assert found["arrays"][0]["infinite"] == [3]
    train, test = ({"split": split} for split in ("train", "test"))
    assert found["leaks"] == [[{**train, "row": 5}, {**test, "row": 50}],
                              [{**train, "row": 6}, {**test, "row": 51}]]
    assert found["duplicates"] == [[{**train, "row": 8}, {**train, "row": 9}]]
    assert found["accuracy"]["test"] == 1
    assert stage(project, monkeypatch, INSPECT) is None
    output = capsys.readouterr().out
    for line in ("  1 dead dimensions: 7", "  1 NaN dimensions: 11",
                 "  train 6 = test 51", "Leaks: .*: 2", "  train 8 = train 9",
                 r"features/train_x.npy: 180 x 256 float32, 184 kB"):
        assert re.search(f"^{line}$", output, re.M), line


@pytest.fixture(name="many", params=[False, True])
def _many(request, monkeypatch):
    """Treat the images as few, or as too many to compare all with all."""
    if request.param:
        monkeypatch.setattr(neighbours, "MANY", 100)
        monkeypatch.setattr(neighbours, "CELL", 10)
        monkeypatch.setattr(cached_features, "LARGE", 0)
    return request.param


def test_near_and_files(project, monkeypatch, capsys, many):
    """Near leaks within --near are named, by the files of the images."""
    _, x = clusters(project)
    x["train_x"][3] = x["test_x"][4] * 1.01
    change(project, monkeypatch, **x)
    for split in files.SPLITS:
        relist(split, [f"{split}/{k}.png"
                       for k in range(len(x[f"{split}_x"]))])
    seals.write("stages/prepare.py")
    found, _ = inspect(project, monkeypatch, capsys, "--near", "0.01")
    assert [[one["file"] for one in pair["rows"]]
            for pair in found["near_leaks"]] == [["train/3.png", "test/4.png"]]
    assert found["near_duplicates"] == found["leaks"] == []
    assert found["approximate"] == many
    found, _ = inspect(project, monkeypatch, capsys, "--near", "0")
    assert found["near_leaks"] == []
    relist("test", [f"test/{k}.png" for k in range(9)])
    seals.write("stages/prepare.py")
    assert "data/prepared/test_rows.npy has 9 rows" in stage(
        project, monkeypatch, INSPECT)


def test_label_errors(project, monkeypatch, capsys, many):
    """Changed labels, and no others, are suspected label errors."""
    y, x = clusters(project)
    rows = [10, 20, 30, 40, 50]
    labels = flipped(y["train"], rows)
    change(project, monkeypatch, train_y=labels, **x)
    found, _ = inspect(project, monkeypatch, capsys)
    assert sorted(one["row"] for one in found["label_errors"]) == rows
    for one in found["label_errors"]:
        assert one["neighbours_predict"] == str(y["train"][one["row"]])
        assert one["class"] == str(labels[one["row"]])
        assert one["split"] == "train" and one["false"] < 0.01
    assert found["label_noise"]["false_suspects"] < 0.01
    assert abs(found["label_noise"]["random_labels"] - 5 / 300) < 0.005
    assert found["pairs"][0]["mistaken"] >= 1
    assert stage(project, monkeypatch, INSPECT) is None
    assert many == ("drawn at random, vote" in (
        capsys.readouterr().out))


def test_expected_false(project, monkeypatch, capsys):
    """Hard images are no suspects, but are listed, marked; errors are."""
    y, x = clusters(project, 3)
    change(project, monkeypatch, **x)
    found, error = inspect(project, monkeypatch, capsys, "--fail-on",
                           "label_errors", "--top", "4")
    assert error is None and found["label_errors"] == []
    every, _ = inspect(project, monkeypatch, capsys, "--false-suspects", "1")
    assert len(every["label_errors"]) > 4 and every["more_label_errors"] == []
    assert found["more_label_errors"] == every["label_errors"][:4]
    wrong = list(range(10, 180, 9))
    change(project, monkeypatch, train_y=flipped(y["train"], wrong))
    shares = []
    for limit in ("0.05", "0.3"):
        found, error = inspect(project, monkeypatch, capsys, "--fail-on",
                               "label_errors", "--false-suspects", limit)
        assert "what --fail-on names: label_errors" in error
        right = [one["split"] == "train" and one["row"] in wrong
                 for one in found["label_errors"]]
        false = [one["false"] for one in found["label_errors"]]
        assert false == sorted(false)
        stated = found["label_noise"]["false_suspects"]
        assert abs(stated - np.mean(false)) < 1e-9 and stated <= float(limit)
        assert abs(1 - np.mean(right) - stated) < 0.15
        shares.append(sum(right))
    assert 0 < shares[0] < shares[1]
    assert stage(project, monkeypatch, INSPECT, "--top", "200") is None
    lines = capsys.readouterr().out.split("\n")
    first = next(k for k, line in enumerate(lines)
                 if line.startswith("Suspected label errors"))
    assert re.fullmatch(r"  expected share of false suspects: (1\d|20)% .*: "
                        r"about \d+\.\d+%", lines[first + 1]), lines[first + 1]
    number = int(lines[first].split()[-1])
    end = first + 2 + number
    assert lines[end].startswith("  Less suspect; with them, more than 20% ")
    assert not any(line.startswith("  ? ") for line in lines[first:end])
    assert lines[end + 1].startswith("  ? ")


def test_equal_images(project, monkeypatch, capsys):
    """Equal images: conflicts come first, far images are listed once."""
    y, x = clusters(project)
    tables = {split: array(project, f"features/{split}_rows")["image"]
              for split in files.SPLITS}
    rows = array(project, "features/train_rows")
    one, two = (np.flatnonzero(y["train"] == k) for k in (1, 2))
    test, = np.flatnonzero(y["test"] == 3)[:1]
    for split, k in [("train", two[0]), ("train", one[1]), ("test", test)]:
        tables[split][k] = tables["train"][one[0]]
        x[f"{split}_x"][k] = x["train_x"][one[0]]
    same = np.flatnonzero(y["train"] == 4)[:9]
    far = 40 * np.random.default_rng(1).normal(size=(2, 256))
    tables["train"][same] = tables["train"][same[0]]
    x["train_x"][same] = far[0]
    x["train_x"][two[1]] = far[1]
    made = {}
    for split, images in tables.items():
        made[f"{split}_rows"] = array(project, f"features/{split}_rows")
        made[f"{split}_rows"]["image"] = images
    assert made["train_rows"].dtype == rows.dtype
    change(project, monkeypatch, **made, **x)
    found, error = inspect(project, monkeypatch, capsys, "--fail-on",
                           "conflicts", "--top", "3")
    assert error == ("inspect_features: found what --fail-on names: conflicts "
                     "1")
    kinds = [("train", one[0], "1"), ("train", one[1], "1"),
             ("train", two[0], "2"), ("test", test, "3")]
    group = [{"row": f"{split}:{k}", "image": None, "class": name}
             for split, k, name in kinds]
    ordered = sorted(group[:3], key=lambda one: int(one["row"][6:]))
    assert found["conflicts"] == [[*ordered, group[3]]]
    assert sorted(found["copies"], key=len) == [
        group[:2], [{"row": f"train:{k}", "image": None, "class": "4"}
                    for k in same]]
    assert len(found["leaks"]) == 1 and len(found["duplicates"]) == 1
    outliers = {one["row"]: one["copies"] for one in found["outliers"][:2]}
    assert outliers == {same[0]: 8, two[1]: 0}
    assert not {one["row"] for one in found["outliers"]} & set(same[1:])
    assert stage(project, monkeypatch, INSPECT) is None
    output = capsys.readouterr().out
    assert re.search(
        r"^Contradicting labels: .*: 1\n  train \d+: [12] = train \d+: [12] = "
        rf".* = test {test}: 3$", output, re.M)
    assert output.index("Contradicting") < output.index("Leaks")
    assert re.search(rf"^  train {same[0]} and 8 copies: mean sim", output,
                     re.M)


@pytest.mark.parametrize("words, pattern", [
    (["--top", "0"], "argument --top: 0 is not in 1..1000000"),
    (["--near", "x"], "argument --near: invalid float value: 'x'"),
    (["--fail-on", "leeks"], "argument --fail-on: unknown kind 'leeks'; "
                             "known: nan, dead, conflicts, "),
    (["--page"], "unrecognized arguments: --page"),
    (["--projection", "umap", "--plots"], "--projection umap needs a package"),
])
def test_options(finished, monkeypatch, capsys, words, pattern):
    """An invalid option is one line, and status 2."""
    assert stage(finished, monkeypatch, INSPECT, *words) == 2
    line = capsys.readouterr().err
    assert re.fullmatch(f"inspect_features: {pattern}.*; see --help\n", line)


def test_unknown_revision(finished, monkeypatch):
    """A revision that does not exist is reported in one line."""
    error = stage(finished, monkeypatch, INSPECT, "--rev", "nowhere")
    assert re.fullmatch("inspect_features: --rev nowhere: its features cannot "
                        "be read .*", error)


def test_damaged(project, monkeypatch):
    """Missing, damaged and mismatching arrays get one line each."""
    table = array(project, "features/test_rows")
    labels = array(project, "data/prepared/test_y")
    change(project, monkeypatch, test_rows=table[:-1])
    assert re.match(
        "inspect_features: features/test_rows.npy: cannot be used .not the "
        "table", stage(project, monkeypatch, INSPECT))
    change(project, monkeypatch, test_rows=table, test_y=labels[:-1])
    assert re.match(
        "inspect_features: features/test_x.npy has 100 rows, .*_y.npy 99; "
        "run", stage(project, monkeypatch, INSPECT))
    change(project, monkeypatch, test_y=labels)
    with open(project.file("features/train_x.npy"), "rb") as file:
        whole = file.read()
    os.unlink(project.file("features/train_x.npy"))
    assert re.match("inspect_features: features/train_x.npy: missing; run",
                    stage(project, monkeypatch, INSPECT))
    for content in (whole[:-1], whole[:-1] + b"0"):
        with open(project.file("features/train_x.npy"), "wb") as file:
            file.write(content)
        assert re.match(
            "inspect_features: features/train_x.npy: (cannot be used|its "
            "SHA-256 differs)", stage(project, monkeypatch, INSPECT))


def test_pictures_of_another_version(project, monkeypatch):
    """DVC leaves the resized images of another version: none is shown."""
    monkeypatch.chdir(project.path)
    path = "data/prepared/test_x.npy"
    os.unlink(path)
    np.save(path, np.empty((100, 0, 0, 3), np.uint8))    # as of files
    resized = np.load("data/resized/test_x.npy")
    assert np.array_equal(sprite.pictures("test", 100)[3], resized[3])
    os.unlink("data/resized/test_x.npy")
    np.save("data/resized/test_x.npy", np.roll(resized, 1, axis=0))
    with pytest.raises(errors.ArtefactError, match="data/resized/test_x.npy: "
                       "of other images than .*; run `dvc repro resize`"):
        sprite.pictures("test", 100)[3]


def test_features_older_than_images(project, monkeypatch):
    """After `prepare` alone, rows of the features can be of other images."""
    project.set(data__seed=1)
    assert project.run("dvc repro prepare").returncode == 0
    assert re.fullmatch(
        r"inspect_features: data/prepared/train_\w+.npy: newer than what "
        "resize made of it; run `dvc repro`",
        stage(project, monkeypatch, INSPECT))
    with pytest.raises(errors.ArtefactError, match="newer than what resize"):
        convnet.labelled("train", 32)    # of compare
    open(project.file("dvc.lock"), "w", encoding="utf-8").close()
    assert re.match("inspect_features: dvc.lock: damaged; restore it from git",
                    stage(project, monkeypatch, INSPECT))


def test_difference(project, monkeypatch, capsys):
    """Rows added, removed and changed since a revision are named."""
    project.run("git add dvc.lock && git commit --quiet -m before")
    found, _ = inspect(project, monkeypatch, capsys, "--rev", "HEAD")
    same = found["difference"]
    assert same["common"] == 300 and same["neighbours_kept"] == 1
    assert not any(same[name] for name in ("key", "added", "removed",
                                           "changed", "labels_changed"))
    assert same["accuracy"] == [found["accuracy"]] * 2
    x, table = (array(project, f"features/train_{name}")
                for name in ("x", "rows"))
    y = array(project, "data/prepared/train_y")
    x[3] *= 1.5
    table["image"][9] = 7
    y[4] = (y[4] + 1) % CLASSES
    change(project, monkeypatch, train_x=x[::-1], train_rows=table[::-1],
           train_y=y[::-1])
    found, _ = inspect(project, monkeypatch, capsys, "--rev", "HEAD")
    other = found["difference"]
    assert other["added"] == [{"split": "train", "row": 170}]
    assert other["removed"] == [{"split": "train", "row": 9}]
    assert other["labels_changed"] == [{"split": "train", "row": 175}]
    assert [one["row"] for one in other["changed"]] == [176]
    assert abs(other["changed"][0]["change"] - 0.5) < 1e-5
    assert 0.5 < other["neighbours_kept"] <= 1
    assert "    train 176, relative change 0.5" in list(difference.lines(
        other, "HEAD", 10))


def test_projector_and_plots(project, monkeypatch):
    """TensorBoard and DVC's plots show all points, repeatably."""
    words = ["--projector", "build/p", "--plots", "--html", "build/page.html",
             "--projection", "pca"]
    made = ["build/p/sprite.png", "build/p/metadata.tsv", "build/page.html",
            "results/inspect/projection/points.csv"]
    assert stage(project, monkeypatch, INSPECT, *words) is None
    with open("build/p/features.bytes", "rb") as file:
        points = np.frombuffer(file.read(), "<f4").reshape(300, -1)
    np.testing.assert_array_equal(points[:180], array(
        project, "features/train_x"))
    with open("build/p/metadata.tsv", encoding="utf-8") as file:
        assert len(file.readlines()) == 301
    with open("build/p/projector_config.pbtxt", encoding="utf-8") as file:
        assert "tensor_shape: 300\n  tensor_shape: 256\n" in file.read()
    server = subprocess.Popen(
        ["tensorboard", "--logdir", "build/p", "--port", "0"],
        env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    try:
        lines = iter(server.stdout.readline, "")
        url = next(filter(None, (re.search(r"http://localhost:\d+/", line)
                                 for line in lines)))[0]
        with urllib.request.urlopen(
                f"{url}data/plugin/projector/info?run=.") as answer:
            embedding, = json.load(answer)["embeddings"]
    finally:
        server.kill()
        server.communicate()
    assert embedding["tensorName"] == "features"
    assert embedding["tensorShape"] == [300, 256]
    pixels = np.asarray(Image.open("build/p/sprite.png"))[:32, 32:64]
    second = array(project, "data/prepared/train_x")[1]
    np.testing.assert_array_equal(pixels[::2, ::2], second)
    twice = []
    for _ in range(2):    # t-SNE of some
        assert stage(project, monkeypatch, INSPECT, *words[:-2],
                     "--points", "60") is None
        twice.append([files.digest(path, "md5") for path in made])
    assert twice[0] == twice[1]
    with open(".dvc/offline.html", "w", encoding="utf-8") as file:
        file.write(OFFLINE)
    done = project.run(
        "dvc config plots.html_template offline.html && dvc plots show")
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout
    with open("dvc_plots/index.html", encoding="utf-8") as file:
        html = file.read()
    assert "vega-embed.js" in html and 'src="http' not in html
    for title in ("Features in two dim", "Test images, classes by their"):
        assert title in html
