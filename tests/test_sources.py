#!/usr/bin/env python3
"""Layouts of a source: folders, links, tables, arrays; what is not read."""
import os
import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, Project, images, stage, tiny_arrays
from pictures import noise, put, saved
from pyarrow import csv, parquet
from test_folder import read
from test_readme import table_command

from stages.lib.common import image_table, seals
from stages.lib.sources import npz, picture_files

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100


@pytest.fixture
def project(tmp_path):
    """Return a project of parameters alone, which `prepare` can run in."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(f"{ROOT}/{name}", tmp_path)
    return Project(tmp_path)


def classes(folder, count, names=("hat", "coat")):
    """Write `count` images into a sub-folder of `folder` for each class."""
    for label, name in enumerate(names):
        for k in range(count):
            put(f"{folder}/{name}/{k:02}.png",
                saved(noise(9, 7, [label, k, len(str(folder))]), "PNG"))


def sizes(project):
    """Return split -> number of images that `prepare` has written."""
    return [len(np.load(project.file(f"data/prepared/{split}_y.npy")))
            for split in ("train", "validation", "test")]


def prepare(project, monkeypatch, source="source", **values):
    """Run `prepare`; return its error line, None for success."""
    project.set(data__source=source, **values)
    return stage(project, monkeypatch, "prepare")


@pytest.mark.parametrize("given, expected", [
    ({"": 20}, [32, 4, 4]),
    ({"train": 6, "val": 2, "test": 3}, [12, 4, 6]),
    ({"Training": 6, "VALID": 2, "Holdout": 3}, [12, 4, 6]),
    ({"TRAIN": 6, "Dev": 2, "testing": 3}, [12, 4, 6])])
def test_layouts(project, monkeypatch, given, expected):
    """Splits have the names that people use; or classes are in the root."""
    for split, count in given.items():
        classes(project.file(os.path.join("source", split)), count)
    assert prepare(project, monkeypatch) is None
    assert sizes(project) == expected
    assert read(project, "data/prepared/dataset.json")["class_names"] == [
        "coat", "hat"]
    assert read(project, "results/refused.json") == []


def test_class_named_like_a_split(project, monkeypatch):
    """A folder train/ without folders, beside classes, is a class."""
    classes(project.file("source"), 20, ["bus", "test", "train"])
    assert prepare(project, monkeypatch) is None
    assert sizes(project) == [48, 6, 6]
    assert read(project, "data/prepared/dataset.json")["class_names"] == [
        "bus", "test", "train"]


@pytest.mark.parametrize("folders, pattern", [
    (["train", "validaton"], r"validaton/ is no split; did you mean valid"),
    (["trian", "test"], "trian/ is no split; did you mean train/"),
    (["training_set", "test_set"], "test_set/ .* did you mean test/"),
    (["train", "Eval"], "Eval/ is no split; did you mean val/"),
    (["train", "val", "Validation"], "(val|Validation)/ and .* the same spl"),
    (["train", "Train"], "Train/ and train/ are the same split; keep one")])
def test_misspelt_splits(project, monkeypatch, folders, pattern):
    """A folder whose name resembles that of a split is not ignored."""
    for folder in folders:
        classes(project.file(f"source/{folder}"), 6)
    line = prepare(project, monkeypatch)
    assert re.match(f"prepare: source: {pattern}", line), line


@pytest.mark.parametrize("files, pattern", [
    ({"train/shoes/a.HEIC": HEIC}, r"the class shoes of train has no image; "
     r"its first rejected file: train/shoes/a.HEIC: .*HEIC"),
    ({"train/shoes/a.txt": b"x"}, "the class shoes of train .*not read: .txt"),
    ({"test/hat/b.png": b""}, "the (class hat of|split) test .*: empty file"),
    ({"val/a.png": saved(noise(3, 3), "PNG")},
     "the split validation has no image; .* not in a class folder"),
    ({"train/shoes/": None}, "the class shoes .*not read: an empty folder"),
    ({"val/": None}, "the split validation .*not read: an empty folder")])
def test_splits_and_classes_without_rows(project, monkeypatch, files,
                                         pattern):
    """A split or class that is there but gives no row is named."""
    classes(project.file("source/train"), 60)
    for name, data in files.items():
        if data is None:
            os.makedirs(project.file(f"source/{name}"))
        else:
            put(project.file(f"source/{name}"), data)
    line = prepare(project, monkeypatch)
    assert re.match(f"prepare: source: {pattern}", line), line


def test_rejected_folder_counts_its_files(project, monkeypatch):
    """The files of a folder that is not entered are counted."""
    classes(project.file("source/train"), 20)
    classes(project.file("source/other"), 3)
    name = os.fsdecode(b"source/train/hat/\xff")
    for k in range(5):
        put(project.file(f"{name}/{k}.png"), b"x")
    line = prepare(project, monkeypatch)
    assert line.startswith("prepare: 5 of 45 files are refused"), line
    assert {one["reason"]: one["files"] for one in read(
        project, "results/refused.json")} == {
            "not read: in none of the splits": 6,
            "its name is not UTF-8": 5}


def test_links(project, monkeypatch, tmp_path):
    """Links to files are followed; one to a folder stops, with its path."""
    classes(tmp_path / "elsewhere", 20)
    for name in ("hat", "coat"):
        os.makedirs(project.file(f"source/train/{name}"))
        for k in range(20):
            os.symlink(tmp_path / f"elsewhere/{name}/{k:02}.png",
                       project.file(f"source/train/{name}/{k:02}.png"))
    assert prepare(project, monkeypatch) is None
    assert sizes(project) == [32, 4, 4]
    os.symlink("..", project.file("source/train/loop"))
    assert prepare(project, monkeypatch).startswith(
        "prepare: source/train/loop: a link to a folder, behind which DVC ")
    os.symlink("source", project.file("link"))
    os.unlink(project.file("source/train/loop"))
    assert prepare(project, monkeypatch, "link") is None    # DVC follows it


def table(project, rows, name="list/labels.csv", delimiter=","):
    """Write a table of `rows`, each a list of texts, and 24 images."""
    classes(project.file("images"), 12)
    lines = (delimiter.join(row) for row in rows)
    put(project.file(name), "\n".join(lines).encode())


def rows(title="image", split="split"):
    """Return the rows of a table; the last 2 images of a class are test."""
    return [[title, "class", split]] + [
        [f"../images/{name}/{k:02}.png", name, "Test" if k > 9 else "training"]
        for name in ("hat", "coat") for k in range(12)]


@pytest.mark.parametrize("title, delimiter, values", [
    ("Filename", ",", {}), ("file_path", ";", {}), ("path", "\t", {}),
    ("where", ",", {"data__columns__image": "where"})])
def test_table(project, monkeypatch, title, delimiter, values):
    """Paths are relative to the table; missing splits are carved."""
    table(project, rows(title), delimiter=delimiter)
    assert prepare(project, monkeypatch, "list/labels.csv", **{
        "data__columns": {"image": None, "label": None, "split": None},
        **values}) is None
    assert sizes(project) == [18, 2, 4]
    found = image_table.read(project.file("data/prepared/test_rows.npy"))
    assert {row["image"] for row in found} == {
        f"../images/{name}/{k}.png" for name in ("hat", "coat")
        for k in (10, 11)}
    order = rows(title)
    table(project, order[:1] + order[:0:-1], delimiter=delimiter)
    before = np.load(project.file("data/prepared/train_y.npy"))
    assert prepare(project, monkeypatch, "list/labels.csv", **values) is None
    assert np.array_equal(
        np.load(project.file("data/prepared/train_y.npy")), before)


def test_parquet(project, monkeypatch):
    """A Parquet file is the same table."""
    table(project, rows())
    read = csv.read_csv(project.file("list/labels.csv"))
    parquet.write_table(read, project.file("list/labels.parquet"))
    assert prepare(project, monkeypatch, "list/labels.parquet") is None
    assert sizes(project) == [18, 2, 4]
    labels = [0.0] * (len(read) - 1) + [float("nan")]    # not null
    parquet.write_table(read.set_column(1, "class", [labels]),
                        project.file("list/labels.parquet"))
    assert f"row {len(read)}: no label" in prepare(
        project, monkeypatch, "list/labels.parquet")


@pytest.mark.parametrize("change, pattern", [
    (lambda t: t[0].__setitem__(0, "where"),
     "has no column image, filename, .*, but where, class, split; name the "
     "column of the image in data.columns.image"),
    (lambda t: t[0].__setitem__(2, "label"),
     "has the columns class, label; name the column of the label in data.col"),
    (lambda t: t[3].__setitem__(2, "validaton"),
     "row 3: unknown split 'validaton'; did you mean valid"),
    (lambda t: t[3].__setitem__(2, ""), "row 3: unknown split ''; known: tra"),
    (lambda t: t[4].__setitem__(1, " "), "row 4: no label in the column clas"),
    (lambda t: t[5].pop(), r"no table .*row 5 has 2 fields, the header 3"),
    (lambda t: t.__delitem__(slice(1, None)), "the table has no rows"),
    (lambda t: t.clear(), "the table has no rows|has no column"),
    (lambda t: t[6].__setitem__(0, "gone.png"),
     "1 of 24 files are refused, .*gone.png: no such file, or a broken link"),
    (lambda t: t[6].__setitem__(1, '"a'), "no table can be read .*unexpected")
])
def test_bad_tables(project, monkeypatch, change, pattern):
    """What is wrong with a table is one line that names the row."""
    changed = rows()
    change(changed)
    table(project, changed)
    line = prepare(project, monkeypatch, "list/labels.csv")
    assert re.match(f"prepare: (list/labels.csv: )?({pattern})", line), line


def test_image_of_a_table_changes_meanwhile(project, monkeypatch):
    """`prepare` fails if an image is replaced while it runs."""
    table(project, rows())
    real = picture_files.load

    def load(*words):
        """Replace an image after all were read."""
        found = real(*words)
        put(project.file("images/hat/03.png"), saved(noise(9, 9, 5), "PNG"))
        return found

    monkeypatch.setattr(picture_files, "load", load)
    line = prepare(project, monkeypatch, "list/labels.csv")
    assert line.startswith("prepare: data/linked: changed while this stage")


@pytest.mark.slow
def test_images_of_a_table_are_dependencies(finished, tmp_path):
    """The README's command; a changed image of a table runs `prepare` again.
    """
    shutil.copytree(finished.path, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    table(project, rows("filename"))
    done = project.run(table_command().replace(
        "/absolute/path", project.file("list")) + " prepare")
    assert "Ran experiment" in done.stdout, done.stdout
    assert "up to date" in project.run("dvc status prepare").stdout
    put(project.file("images/hat/03.png"), saved(noise(9, 9, 5), "PNG"))
    assert "data/linked" in project.run("dvc status prepare").stdout
    assert "Running" in project.run("dvc repro prepare").stdout
    os.unlink(project.file("images/hat/04.png"))
    listed = rows("filename")
    del listed[5]    # hat/04
    put(project.file("list/labels.csv"), "\n".join(
        ",".join(row) for row in listed).encode())
    link = re.search(r"data/linked/\w+-04.png",
                     project.run("dvc repro prepare").stdout)
    os.unlink(project.file(link[0]))    # as the README says
    assert "Running" in project.run("dvc repro prepare").stdout
    assert len(os.listdir(project.file("data/linked"))) == 24


@pytest.mark.parametrize("renamed, expected", [
    ({"x_val": "x_test", "y_val": "y_test"}, [200, 100, 20]),
    ({"X_train": "x_train", "Y_train": "y_train", "x_holdout": "x_test",
      "y_holdout": "y_test"}, [180, 20, 100])])
def test_arrays(project, monkeypatch, capsys, renamed, expected):
    """Arrays of splits have the usual names; others are named in a line."""
    arrays = tiny_arrays()
    for name, old in renamed.items():
        arrays[name] = arrays.pop(old)
    if "x_val" in arrays:    # the README's order: test is given, too
        arrays["x_test"], arrays["y_test"] = images(2, 2)
    np.savez(project.file("tiny.npz"), **arrays, means=np.zeros(3),
             files=np.array(["a", None]))
    assert prepare(project, monkeypatch, "tiny.npz") is None
    assert sizes(project) == expected
    assert ("prepare: arrays that are not read: means, files\n"
            in capsys.readouterr().out)


@pytest.mark.parametrize("renamed, pattern", [
    ({"x_valdation": "x_test"}, "x_valdation is no split; did you mean x_va"),
    ({"X_test": "x_train", "x_testing": "x_test"}, "X_test and x_testing are"),
    ({"x_val": "x_test"}, "no array (x_test|y_validation); an .npz source")])
def test_misnamed_arrays(project, monkeypatch, renamed, pattern):
    """Arrays that look like a split, or lack their labels, are not ignored."""
    arrays = tiny_arrays()
    for name, old in renamed.items():
        arrays[name] = arrays.pop(old)
    np.savez(project.file("tiny.npz"), **arrays)
    line = prepare(project, monkeypatch, "tiny.npz")
    assert re.match(f"prepare: tiny.npz: {pattern}", line), line


def test_counts_are_those_of_the_source(project, monkeypatch):
    """The images of a class are counted before any split is carved."""
    classes(project.file("source"), 2)
    assert prepare(project, monkeypatch) == (
        "prepare: class 0 (coat): 2 different images in train are of this "
        "class only, 3 splits need 3; add images, remove the class, or add "
        "the split test and validation to the source")


def test_large_arrays_stay_on_disk(project, monkeypatch):
    """An array that is unpacked to a file gives the same bytes."""
    found = []
    for limit in (npz.LARGE, 1):
        monkeypatch.setattr(npz, "LARGE", limit)
        for save in (np.savez, np.savez_compressed):
            save(project.file("a.npz"), **tiny_arrays())
            assert prepare(project, monkeypatch, "a.npz") is None
            found.append({name: open(project.file(name), "rb").read()
                          for name in seals.outs()["prepare"]})
    assert found[0] == found[1] == found[2] == found[3]
    assert not [name for name in os.listdir(project.file("data/prepared"))
                if "part" in name]
