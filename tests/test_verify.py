#!/usr/bin/env python3
"""Damaged artefacts: stages refuse them, `verify` names, `repair` replaces.

`tests/damage_artefacts.py` damages files at random.
"""
import glob
import os
import shutil

import h5py
import numpy as np
import pytest
from conftest import stage

from ruamel.yaml import YAML

from stages.lib.cache import repair
from stages.lib.common import files, keras_runtime, manifest, seals
from stages.lib.common import stage as runner

VERIFY = "commands.verify_artefacts"
SEALED = "damaged: its SHA-256 differs from that in"
# File -> a change of its bytes that a parser accepts, the stage that reads it,
# its error.
DAMAGED = {
    "data/prepared/train_x.npy": (
        lambda data: data[:-1] + bytes([data[-1] ^ 1]), "resize",
        f"{SEALED} seals/prepare.json; run `make repair`, then `dvc repro`"),
    "data/prepared/validation_y.npy": (
        lambda data: data[:-1] + bytes([data[-1] ^ 1]), "train",
        f"{SEALED} seals/prepare.json"),
    "data/prepared/dataset.json": (
        lambda data: data.replace(b'"class_names"', b'"classical"'),
        "evaluate", f"{SEALED} seals/prepare.json"),
    "data/resized/validation_x.npy": (
        lambda data: data[:-1] + bytes([data[-1] ^ 1]), "extract",
        f"{SEALED} seals/resize.json"),
    "models/head.h5": (
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "evaluate",
        "damaged: its SHA-256 differs from that inside it; run `make repair`"),
    "results/history.csv": (
        lambda data: data.replace(b"0.", b"1.", 1), "evaluate",
        f"{SEALED} seals/train.json"),
    "seals/resize.json": (
        lambda data: data.replace(b"train_x", b"trazn_x"), "evaluate",
        "damaged: not as it was written; run `make repair`"),
}


def damage(path, change):
    """Change the bytes of a file in place, as a disk does: same times."""
    with open(path, "rb") as file:
        data = file.read()
    before, changed = os.stat(path), change(data)
    assert changed != data
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.write(changed)
        file.truncate()
    os.chmod(path, before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def linked(project, name):
    """Return the object of an out in DVC's cache; make it a link, again.

    `project` is a copy, in which links became files.
    """
    md5 = project.md5()[name]
    path = project.file(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    os.unlink(project.file(name))
    os.link(path, project.file(name))
    return path


def named(line):
    """Return path -> what is said about it by `verify`."""
    return dict(one.split(": ", 1) for one in line.split("\n")[1:-1])


@pytest.mark.parametrize("name", DAMAGED)
def test_readers_refuse(project, monkeypatch, name):
    """A stage names the damaged file that it would read, and ends."""
    change, reader, text = DAMAGED[name]
    damage(project.file(name), change)
    line = stage(project, monkeypatch, reader)
    assert line.startswith(f"{reader}: {name}: {text}"), line


@pytest.mark.slow
def test_repair(project, monkeypatch):
    """All kinds of damage at once: named, and repaired to the same bytes."""
    before = project.md5()
    objects = [linked(project, name) for name in (
        "models/head.h5", "data/prepared/train_rows.npy",
        "results/mistakes.png")]
    damage(objects[0], DAMAGED["models/head.h5"][0])
    damage(objects[1], lambda data: data.replace(b"image", b"imago", 1))
    damage(objects[2], lambda data: data[:100])
    old = project.file(f".dvc/cache/files/md5/00/{30 * '0'}")
    os.makedirs(os.path.dirname(old))
    files.write_text(old, "an earlier version")
    run, other = glob.glob(project.file(".dvc/cache/runs/*/*/*"))[:2]
    damage(run, lambda data: data.replace(b"md5: ", b"md5:  ", 1))
    damage(other, lambda data: data.replace(b"size: ", b"size: x", 1))
    empty = project.file(".dvc/cache/runs/00/000")    # DVC was killed
    os.makedirs(empty)
    md5 = before["results/history.csv"]    # damaged in the cache alone
    copy = project.file(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    os.unlink(copy)
    files.write_text(copy, "damaged")
    os.unlink(project.file("data/resized/test_x.npy"))
    found = named(stage(project, monkeypatch, VERIFY))
    cached = "not the bytes of its name; "
    for path, why in [
            ("models/head.h5", "differs from dvc.lock; written by train"),
            ("data/prepared/train_rows.npy", "differs from dvc.lock; written "
             "by prepare"),
            ("results/mistakes.png", "differs from dvc.lock; written by "
             "evaluate"),
            ("data/resized/test_x.npy", "missing; written by resize"),
            (objects[0], f"{cached}the copy of models/head.h5 in DVC's cache"),
            (old, f"{cached}of no current out in DVC's cache"),
            (copy, f"{cached}the copy of results/history.csv in DVC's cache"),
            (run, f"{cached}in DVC's run cache"),
            (other, f"{cached}in DVC's run cache"),
            (empty, "empty; in DVC's run cache")]:
        assert found.pop(os.path.relpath(path, project.path)
                         if os.path.isabs(path) else path) == why
    assert len(found) == 2    # the other two objects
    monkeypatch.setenv("PATH", os.defpath)    # its environment: not activated
    assert stage(project, monkeypatch, VERIFY, "--repair") is None
    assert project.md5() == before
    assert all(map(os.listdir, glob.glob(project.file(
        ".dvc/cache/runs/*/*"))))    # DVC ends at an empty one
    assert stage(project, monkeypatch, VERIFY) is None
    assert project.repro() == []
    assert not os.path.exists(old) and not os.path.exists("build/damaged")
    with open(copy, "rb") as cached, open("results/history.csv", "rb") as out:
        assert cached.read() == out.read()


def test_one_out(project, monkeypatch, capsys):
    """Single outs are compared, also a folder; those of no stage are named.
    """
    assert stage(project, monkeypatch, VERIFY, "features/views") is None
    damage(project.file("features/views/README.txt"), lambda data: data[1:])
    os.symlink("nowhere", project.file("features/views/link"))
    assert named(stage(project, monkeypatch, VERIFY, "features/views")) == {
        "features/views/README.txt": "differs from dvc.lock; written by "
        "extract", "features/views/link": "cannot be read; written by extract"}
    assert stage(project, monkeypatch, VERIFY, "data/raw/digits.yaml") == (
        "verify_artefacts: data/raw/digits.yaml: no stage writes it")
    with open("dvc.lock", encoding="utf-8") as file:
        lock = YAML().load(file)
    del lock["stages"]["evaluate"]
    with open("dvc.lock", "w", encoding="utf-8") as file:
        YAML().dump(lock, file)
    assert stage(project, monkeypatch, VERIFY, "results/metrics.json") == (
        "verify_artefacts: results/metrics.json: not in dvc.lock; run "
        "`dvc repro`")
    assert stage(project, monkeypatch, VERIFY, "--repair", "cifar10.h5") == 2
    assert capsys.readouterr().err == (
        "verify_artefacts: --repair needs to compare everything: name no OUT; "
        "see --help\n")


def test_repair_is_careful(project, monkeypatch):
    """No file moves while its stage runs; resized images take no disk twice.
    """
    damage(project.file("results/history.csv"), lambda data: data[1:])
    with monkeypatch.context() as patch:
        patch.chdir(project.path)
        with runner.idle(["train"]):
            assert stage(project, patch, VERIFY, "--repair") == (
                "verify_artefacts: train is running; repair when it has ended")
        repair.move("data/resized/test_x.npy")
        assert not os.path.exists(repair.ASIDE)
        assert not os.path.exists("data/resized/test_x.npy")
        repair.move("results/history.csv")
        assert glob.glob(f"{repair.ASIDE}/*/history.csv")
    before = project.md5()
    assert stage(project, monkeypatch, VERIFY, "--repair") is None
    assert project.md5() == before and not os.path.exists(repair.ASIDE)


def test_damage_that_dvc_accepted(project, monkeypatch):
    """If dvc.lock has the md5 of a damaged model, its seal has not."""
    before = project.md5()
    path = linked(project, "cifar10.h5")
    damage(path, lambda data: data[:100_000])
    md5 = files.digest(path, "md5")
    copy = project.file(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    files.link(path, copy)
    damage(project.file("dvc.lock"), lambda data: data.replace(
        before["cifar10.h5"].encode(), md5.encode()))
    assert named(stage(project, monkeypatch, VERIFY))["cifar10.h5"] == (
        "differs from seals/fuse.json; written by fuse")
    assert stage(project, monkeypatch, VERIFY, "--repair") is None
    assert project.md5() == before and not os.path.exists(copy)


def test_every_out_is_sealed(finished, monkeypatch):
    """Outs that stages read are sealed, and those of the last stages."""
    monkeypatch.chdir(finished.path)
    sealed, written = set(manifest.read()["arrays"]), set()
    for name, outs in seals.outs().items():
        written |= set(outs)
        if name != "extract":
            sealed |= {seals.path(name),
                       *seals.read_json(seals.path(name))["sha256"]}
    assert written - sealed == {"results/refused.json", "results/data.json",
                                "features/views", "features/evaluation",
                                "features/manifest.json", "models/export"}
    assert "models/export/export.json" in sealed    # file by file


def test_missing_folder(project, monkeypatch):
    """Its files are named, although DVC's list of them is gone, too."""
    before = project.md5()
    for name, inner in (("features/views", "README.txt"),
                        ("features/evaluation", "manifest.json"),
                        ("models/export", "export.json")):
        md5 = before[name]
        os.unlink(project.file(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"))
        shutil.rmtree(project.file(name))
        if name == "models/export":    # as DVC does before the stage runs
            os.unlink(project.file("seals/export.json"))
        assert f"{name}/{inner}" in named(
            stage(project, monkeypatch, VERIFY, name))
    assert stage(project, monkeypatch, VERIFY, "--repair") is None
    assert project.md5() == before


def test_predict(project, monkeypatch, capsys):
    """A damaged model, and one of another Python, are not used; each says so.
    """
    def refused():
        """Return the last line of an attempt to predict."""
        assert stage(project, monkeypatch, "commands.predict_images",
                     "cifar10.h5", "results/mistakes.png") == 2
        return capsys.readouterr().err.strip().split("\n")[-1]

    with monkeypatch.context() as patch:
        patch.setattr(keras_runtime, "python_version", lambda: "3.7")
        assert ("cifar10.h5: it was written under Python 3." in refused())
    with h5py.File(project.file("cifar10.h5")) as file:
        kernel = file["model_weights/head_output/head_output/kernel:0"]
        offset = kernel.id.get_offset()
    damage(project.file("cifar10.h5"), lambda data: (
        data[:offset] + np.float32(9).tobytes() + data[offset + 4:]))
    assert "cifar10.h5: damaged: its SHA-256 differs from that " in refused()


def test_dvc_is_gone(project, monkeypatch):
    """A stage without its DVC says what happened, and advises nothing."""
    monkeypatch.setenv("DVC_STAGE", "prepare")
    monkeypatch.setattr(files, "PARENT", -1)
    assert stage(project, monkeypatch, "prepare") == (
        "prepare: the DVC that started this stage is gone: stopped")
