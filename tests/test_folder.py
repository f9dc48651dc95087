#!/usr/bin/env python3
"""A folder of photographs: every format, every bad file, from end to end."""
import hashlib
import json
import os
import re
import shutil
import types

import h5py
import numpy as np
import pytest
from conftest import COLOURS, stage
from pictures import bad, formats, noise, put, saved
from test_readme import photographs

from stages.lib.common import image_table, keras_runtime, seals
from stages.lib.images import resizing
from stages.lib.sources import picture_files
from stages.lib.training import head

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP",
         "gif": "GIF"}


def read(project, name):
    """Return a JSON file of a project."""
    with open(project.file(name), encoding="utf-8") as file:
        return json.load(file)


def bad_folder(root):
    """Make a folder of all formats and all bad files; return the reasons.

    Two classes; the name of one has two spellings in Unicode.  A picture of
    train is in test, too, in another format.
    """
    hat, cafe = "hat", "caf\u00e9"
    for k in range(12):
        put(f"{root}/train/{hat}/{k:02}.png", saved(noise(9, 7, k), "PNG"))
    for name, (data, _, _) in formats().items():
        put(f"{root}/train/{cafe}/{name}", data)
    for k, name in enumerate([
            "validation/hat/x", "validation/cafe\u0301/x",
            "holdout/cafe\u0301/deeper/x"]):
        put(f"{root}/{name}.png", saved(noise(5, 5, k), "PNG"))
    put(f"{root}/holdout/cafe\u0301/leak.bmp", saved(noise(9, 7, 3), "BMP"))
    reasons = {}
    for name, (data, reason) in bad().items():
        put(f"{root}/train/{hat}/{name}", data)
        reasons[f"train/{hat}/{name}"] = reason
    os.symlink("nowhere.png", f"{root}/train/{hat}/gone.png")
    reasons[f"train/{hat}/gone.png"] = "no such file, or a broken link"
    os.mkfifo(f"{root}/train/{hat}/pipe.png")
    reasons[f"train/{hat}/pipe.png"] = "not a regular file"
    put(f"{root}/train/lost.png", saved(noise(5, 5), "PNG"))
    reasons["train/lost.png"] = "not in a class folder"
    os.mkdir(f"{root}/train/{hat}/void")
    for name, reason in [
            ("more", "in none of the splits"),
            (f"train/{hat}/.DS_Store", "hidden"),
            (f"train/{hat}/thumbs.db", "hidden"),
            (f"train/{hat}/void", "an empty folder"),
            (f"train/{hat}/0.txt", ".txt"), ("labels.csv", ".csv")]:
        if name == "more":
            put(f"{root}/more/hat/a.png", b"x")
        elif not name.endswith("void"):
            put(f"{root}/{name}", b"x")
        reasons[name] = f"not read: {reason}"
    put(f"{root}/train/{hat}/1.txt", b"x")
    return reasons


def test_bad_files(project, monkeypatch, tmp_path, capsys):
    """Each file is a row or rejected with a reason; too many are an error."""
    root = str(tmp_path / "photographs")
    reasons = bad_folder(root)
    wrong = sum(not reason.startswith("not") or "regular" in reason
                or "class" in reason or "image" in reason
                for reason in reasons.values())
    before = os.stat(project.file("data/prepared/train_x.npy")).st_ino
    project.set(data__source=root)
    line = stage(project, monkeypatch, "prepare")
    assert re.match(rf"prepare: {wrong} of {wrong + 32} files are refused, "
                    r"more than data.max_refused_fraction 0.01 allows; the "
                    r"first: train/hat/bomb.png: too large: .*; "
                    "all: results/refused.json", line), line
    assert os.stat(project.file("data/prepared/train_x.npy")).st_ino == before
    project.set(data__max_refused_fraction=0.5)
    assert stage(project, monkeypatch, "prepare") is None
    output = capsys.readouterr().out
    refused = read(project, "results/refused.json")
    assert {one["file"]: one["reason"] for one in refused} == reasons
    assert [one["file"] for one in refused] == sorted(reasons)
    assert {"file": "train/hat/0.txt", "split": "train", "class": "hat",
            "reason": "not read: .txt", "files": 2} in refused
    assert read(project, "results/data.json") == {
        "leaked_images": 1, "leaks": {
            "validation_in_train": 0, "test_in_train": 1,
            "test_in_validation": 0}, "contradicted_pictures": 1, "copies": 5,
        "refused_files": wrong, "missing_classes": 1}
    assert ("leak: holdout/cafe\u0301/leak.bmp is the same picture as train/"
            "hat/03.png") in output
    assert ("leaks: 1 images are equal to one in an earlier split (1 of test "
            "in train); remove the copies") in output
    assert ("contradiction: train/hat/03.png is hat, holdout/cafe\u0301/"
            "leak.bmp is caf\u00e9") in output
    assert "test: no image of hat" in output
    assert "refused files: 5 truncated, " in output
    assert ("files that are not read: 2 hidden, 2 .txt, 1 .csv, 1 in none of "
            "the splits; see results/refused.json") in output
    assert read(project, "data/prepared/dataset.json") == {
        "class_names": ["caf\u00e9", "hat"],
        "leaked_rows": {"validation": [], "test": [1]}}
    rows_are_files(project, root)


def rows_are_files(project, root):
    """Check that each row is one good file, in the order of the names."""
    seen = []
    for split, count in [("train", 28), ("validation", 2), ("test", 2)]:
        x = np.load(project.file(f"data/prepared/{split}_x.npy"))
        y = np.load(project.file(f"data/prepared/{split}_y.npy"))
        rows = list(image_table.read(
            project.file(f"data/prepared/{split}_rows.npy")))
        assert x.shape == (count, 0, 0, 3) and len(y) == len(rows) == count
        names = [row["image"] for row in rows]
        assert names == sorted(names)
        seen += names
        for row, label in zip(rows, y):
            with open(os.path.join(root, row["image"]), "rb") as file:
                assert row["sha256"] == hashlib.sha256(
                    file.read()).hexdigest()
            assert label == (row["class"] == "hat")
            assert ("/hat/" in row["image"]) == label
    assert len(set(seen)) == 32


@pytest.mark.parametrize("names, pattern", [
    (["test/hat/a", "val/coat/a"], ": no train/ in it; a source folder "),
    (["train/hat/a", "test/hat/a", "Holdout/hat/a"], ": Holdout/ and test/ "),
    (["train/hat/a"], ": 1 classes with images; at least two are needed"),
    (["train/hat/a", "train/b/a", "test/coat/a"],
     ": train has no image of the class coat; add images, or remove"),
    (["train/hat/a", "train/b/a", "test/hat/a"],
     r"class 0 \(b\): 1 different images .* add the split validation to"),
    (["train/hat/a", "train/b/a", "validation/hat/a"],
     r"class 0 \(b\): 1 different images .* add the split test to the sour"),
])
def test_folders_that_are_no_source(project, monkeypatch, names, pattern):
    """A folder that is not a data set is refused in one line."""
    for k, name in enumerate(names):
        put(project.file(f"bad/{name}.png"), saved(noise(4, 4, k), "PNG"))
    project.set(data__source="bad")
    line = stage(project, monkeypatch, "prepare")
    assert re.match("prepare: (bad)?" + pattern, line), line


@pytest.mark.parametrize("output", ["../a.h5", "/a.h5", "a.keras"])
def test_output_stays_inside(project, monkeypatch, output):
    """The fused model is an .h5 file in the repository."""
    project.set(fuse__output=output)
    assert re.match("fuse: params.yaml: fuse.output: .*(outside|end with .h5)",
                    stage(project, monkeypatch, "fuse"))


def tiny_folder(root):
    """Make photographs of 3 colours, of all formats and many sizes."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for k, name in enumerate(["coat", "gr\u00fcn", "hat"]):
            for number in range(count):
                size = random.integers(20, 50, 2)
                image = COLOURS[[1, 2, 4][k]] + random.normal(
                    0, 10, (*size, 3))
                end = list(KINDS)[number % len(KINDS)]
                put(f"{root}/{split}/{name}/{number}.{end}",
                    saved(image.clip(0, 255).astype(np.uint8), KINDS[end]))


def written(project):
    """Return path -> bytes of what prepare and resize write."""
    return {path: open(project.file(path), "rb").read()
            for name in ("prepare", "resize")
            for path in [*seals.outs()[name]] if "results" not in path}


def test_each_file_is_decoded_once(project, monkeypatch, tmp_path, capsys):
    """Known files are neither decoded nor resized again; same bytes."""
    root, calls = tmp_path / "photographs", []
    tiny_folder(root)
    project.set(data__source=str(root))

    def counted(name, function):
        """Return `function`, which notes how many pictures it takes."""
        return lambda *given: (calls.append(
            (name, len(given[1]) if name == "resize" else 1)),
            function(*given))[1]

    def run():
        """Run both stages; return how many pictures each of them took."""
        calls.clear()
        for name in ("prepare", "resize"):
            with monkeypatch.context() as patch:
                patch.setattr(picture_files, "_decode", counted(
                    "prepare", picture_files._decode))
                patch.setattr(resizing, "batch_of_files", counted(
                    "resize", resizing.batch_of_files))
                assert stage(project, patch, name) is None
        return [sum(count for kind, count in calls if kind == name)
                for name in ("prepare", "resize")]

    assert run() == [48, 48]
    before = written(project)
    assert run() == [0, 0] and written(project) == before
    os.rename(root / "train/hat/0.jpg", root / "train/hat/renamed.jpg")
    os.unlink(root / "train/coat/1.png")
    for name, height in (("a", 30), ("z", 31)):
        put(f"{root}/train/coat/{name}.png", saved(noise(height, 40), "PNG"))
    array = np.load(project.file("data/resized/test_x.npy"), mmap_mode="r+")
    array[5, 3, 3, 0] ^= 1    # damaged on disk
    array.flush()
    assert run() == [2, 3]
    after = written(project)
    assert after != before
    for name in ("prepared", "resized"):
        path = project.file(f"data/{name}/scratch")
        for kept in os.listdir(path):
            if kept.endswith(".npy"):
                with open(f"{path}/{kept}", "r+b") as file:
                    file.seek(200)
                    file.write(b"damage")
    capsys.readouterr()
    assert run() == [49, 49] and written(project) == after
    assert capsys.readouterr().out.count("not reused: data/") == 2
    arrays = [project.file(path) for path in after if "resized" in path]
    size = sum(map(os.path.getsize, arrays))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(
        free=1.9 * size - sum(map(os.path.getsize, filter(
            os.path.exists, arrays)))))    # old arrays are read to the end
    assert run() == [0, 49] and written(project) == after


def test_end_to_end(project, tmp_path, monkeypatch):
    """The README's commands for photographs, and their files."""
    root = tmp_path / "absolute" / "photographs"
    tiny_folder(root)
    done = [project.run(line.replace("/absolute/path", str(root.parent)))
            for line in photographs()]
    for one in done:
        assert one.returncode == 0, one.stdout
    x = np.load(project.file("features/test_x.npy"))
    p = head.probabilities(keras_runtime.load_model(
        project.file("models/head.h5")), x)
    rows = list(image_table.read(
        project.file("data/prepared/test_rows.npy")))
    names = ["coat", "gr\u00fcn", "hat"]
    predicted = done[1].stdout.splitlines()
    assert len(predicted) == len(rows) == 12
    for row, q, line in zip(rows, p, predicted):
        name, best, probability, *_ = line.split("\t")
        assert name == f"{root}/{row['image']}"
        assert best == names[q.argmax()]
        assert float(probability) == pytest.approx(q.max(), abs=1e-4)
    assert done[2].stdout.splitlines()[0].split("\t")[:2] == [
        "test:3", rows[3]["image"]]
    nearest = next(line for line in done[3].stdout.splitlines()
                   if "\t" in line).split("\t")    # itself
    assert nearest[1] == "0.0000" and nearest[3:] == ["hat", "test/hat/0.jpg"]
    model = keras_runtime.load_model(project.file("photographs.h5"))
    assert model.input_shape == (None, None, None, 3)
    with h5py.File(project.file("photographs.h5")) as file:
        assert list(file.attrs["class_names"]) == names
        assert file.attrs["resize_mode"] == "crop"
    assert np.load(project.file("data/prepared/validation_y.npy")).size == 3
    assert "up to date" in project.run("dvc status").stdout
    put(f"{root}/test/hat/0.jpg", saved(noise(9, 9), "PNG"))
    shutil.rmtree(project.file("data/resized/scratch"))    # reads all files
    line = stage(project, monkeypatch, "resize")
    assert line == (f"resize: {root}/test/hat/0.jpg: changed since prepare "
                    "read it; run `dvc repro`")
