#!/usr/bin/env python3
"""The cache of features: what is computed, reused and reported.
"""
import importlib.util
import os
import re
import shutil
from collections import namedtuple

import numpy as np
import pytest
from conftest import stage, tiny_arrays
from sklearn.metrics import log_loss

from stages.lib.common import arrays, digests, errors, files, seals
from stages.lib.common.keras_runtime import tf
from stages.lib.training import numpy_head

FEATURES = [f"features/{split}_x.npy" for split in ("train", "validation",
                                                    "test")]


def extract(project, monkeypatch, capsys):
    """Run `extract`; return how many rows it computed, and why."""
    capsys.readouterr()
    line = stage(project, monkeypatch, "extract")
    text = capsys.readouterr().out
    assert line is None, line
    found = re.search(r"computes ([\d,]+) of [\d,]+ rows: (.*)", text)
    return int(found.group(1).replace(",", "")), found.group(2), text


def contents(project, names=FEATURES):
    """Return the bytes of files of the project."""
    return {name: open(project.file(name), "rb").read() for name in names}


def flip(path, offset=-1000):
    """Change one byte in place, as a damaged disk does."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.chmod(path, 0o444)


def scratch(project, name="train_x.npy"):
    """Return the path of an array of the scratch."""
    folder = project.file("features/scratch")
    found = [os.path.join(path, name) for path, _, names in os.walk(folder)
             if name in names]
    assert len(found) == 1, found
    return found[0]


def prepare(project, monkeypatch, arrays):
    """Prepare and resize other data."""
    np.savez(project.file("data.npz"), **arrays)
    project.set(data__source="data.npz")
    assert stage(project, monkeypatch, "prepare") is None
    assert stage(project, monkeypatch, "resize") is None


@pytest.mark.parametrize("known", ["scratch", "dvc"])
def test_only_new_images(project, monkeypatch, capsys, known):
    """Replaced, removed, reordered, repeated: only what is new is computed.

    The last version is in the scratch, or only in DVC's cache.
    """
    if known == "dvc":
        shutil.rmtree(project.file("features/scratch"))
    arrays, random = tiny_arrays(), np.random.default_rng(3)
    order = random.permutation(200)[:190]
    arrays["x_train"], arrays["y_train"] = [
        arrays[name][order] for name in ("x_train", "y_train")]
    arrays["x_train"][:7] = 255 - arrays["x_train"][:7]    # 7 new images
    arrays["x_train"][7] = arrays["x_train"][6]     # duplicate in one split
    arrays["x_test"][3] = arrays["x_train"][5]      # and across splits
    prepare(project, monkeypatch, arrays)
    count, why, _ = extract(project, monkeypatch, capsys)
    assert (count, why) == (7, "7 new images")
    assert extract(project, monkeypatch, capsys)[:2] == (0, "no new images")
    before = contents(project)
    shutil.rmtree(project.file("features/scratch"))
    os.unlink(project.file("dvc.lock"))
    assert extract(project, monkeypatch, capsys)[:2] == (288, "first run")
    assert contents(project) == before    # a full run: 190 + 100 - 2 images


def test_every_change_is_named(project, monkeypatch, capsys):
    """A changed part of the key computes all rows, and is named."""
    for values, name in [
            ({"extract__dtype": "float16"}, "dtype"),
            ({"extract__dtype": "float32",
              "backbone__weights": "models/weights/random.yaml"},
             "weights")]:
        project.set(**values)
        assert extract(project, monkeypatch, capsys)[:2] == (
            300, f"{name} changed")
    monkeypatch.setattr("stages.lib.engines.engine.version",
                        lambda name: "9.9")
    assert "tensorflow" in extract(project, monkeypatch, capsys)[1]


def test_engines_agree(project, monkeypatch, capsys):
    """Both engines agree to float error."""
    tflite = np.load(project.file(FEATURES[0]))
    project.set(extract__engine="tensorflow")
    assert extract(project, monkeypatch, capsys)[1] == "engine changed"
    tensorflow = np.load(project.file(FEATURES[0]))
    assert not np.array_equal(tflite, tensorflow)
    assert np.abs(tflite - tensorflow).max() <= 1e-5 * tensorflow.max()


def test_any_number_of_workers(project, monkeypatch, capsys):
    """One worker writes the bytes that several do."""
    before = contents(project)
    shutil.rmtree(project.file("features/scratch"))
    os.unlink(project.file("dvc.lock"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert extract(project, monkeypatch, capsys)[0] == 300
    assert contents(project) == before


def save(project, pixels):
    """Write other resized images of train, as `resize` does."""
    np.save(project.file("data/resized/train_x.npy"), pixels)
    seals.write("stages/resize.py")


def test_views(project, monkeypatch, capsys):
    """A view has the features of other pixels; a new one adds its own rows."""
    project.set(extract__views=["identity", "hflip"])
    count, why, _ = extract(project, monkeypatch, capsys)
    assert (count, why) == (180, "view hflip")
    pixels = np.load(project.file("data/resized/train_x.npy"))
    project.set(extract__views=["identity", "hflip", "up+zoom"])
    assert extract(project, monkeypatch, capsys)[:2] == (180, "view up+zoom")
    views = {name: np.load(project.file(f"features/views/{name}_x.npy"))
             for name in ("hflip", "up+zoom")}
    project.set(extract__views=["identity"])
    extract(project, monkeypatch, capsys)
    assert os.listdir(project.file("features/views")) == ["README.txt"]
    save(project, pixels[:, :, ::-1])
    project.set(resize__mode="crop")    # as if this had flipped them
    assert extract(project, monkeypatch, capsys)[:2] == (
        180, "resize.mode changed")
    flipped = np.load(project.file("features/train_x.npy"))
    assert np.array_equal(flipped, views["hflip"])
    up = np.concatenate([pixels[:, 4:], pixels[:, -2:-6:-1]], axis=1)
    zoomed = tf.round(tf.image.resize(up[:, 2:30, 2:30], (32, 32)))
    save(project, zoomed.numpy().astype("uint8"))
    extract(project, monkeypatch, capsys)
    assert np.array_equal(np.load(project.file("features/train_x.npy")),
                          views["up+zoom"])


def test_views_of_evaluation(project, monkeypatch, capsys):
    """Predictions of all views are averaged; what train reads is the same."""
    before = contents(project, ["features/manifest.json"])
    project.set(evaluate__views=["identity", "hflip"])
    assert extract(project, monkeypatch, capsys)[:2] == (
        120, "view validation/hflip, view test/hflip")
    assert contents(project, ["features/manifest.json"]) == before
    assert stage(project, monkeypatch, "evaluate") is None
    metrics = files.read_json(project.file("results/metrics.json"))
    head = numpy_head.load()
    for split in ("validation", "test"):
        y = np.load(project.file(f"data/prepared/{split}_y.npy"))
        p = np.mean([head.probabilities(np.load(project.file(path))) for path
                     in (f"features/{split}_x.npy",
                         f"features/evaluation/{split}/hflip_x.npy")], axis=0)
        assert metrics[f"{split}_views"]["loss"] == pytest.approx(
            log_loss(y, p))
        assert metrics[f"{split}_views"] != metrics[split]
    flip(project.file("features/evaluation/test/hflip_x.npy"))
    assert stage(project, monkeypatch, "evaluate").startswith(
        "evaluate: features/evaluation/test/hflip_x.npy: its SHA-256 differs "
        "from that in features/evaluation/manifest.json")


def test_training_draws_views(project, monkeypatch, capsys):
    """`train` reads every view; with views, the head differs."""
    project.set(extract__views=["identity", "hflip"], train__epochs=2)
    extract(project, monkeypatch, capsys)
    assert stage(project, monkeypatch, "train") is None
    with_views = contents(project, ["models/head.h5"])
    project.set(extract__views=["identity"])
    assert stage(project, monkeypatch, "train") is None
    assert contents(project, ["models/head.h5"]) != with_views
    project.set(extract__views=["identity", "hflip"])
    flip(project.file("features/views/hflip_x.npy"))
    assert stage(project, monkeypatch, "train").startswith(
        "train: features/views/hflip_x.npy: its SHA-256 differs")


def test_first_of_each():
    """Of equal digests the first counts, also of those that share a half."""
    halves = np.random.default_rng(0).integers(0, 5, (60, 2), np.uint64)
    known = {}
    for k, row in enumerate(halves.tolist()):
        known.setdefault(tuple(row), k)
    found = digests.first_of_each(halves.view(np.uint8))
    assert found.tolist() == sorted(known.values()) and len(found) < 26
    assert not len(digests.first_of_each(np.empty((0, 16), np.uint8)))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None,
                    reason="Ray is installed: tests/cluster.py")
def test_cluster_without_ray(project, monkeypatch):
    """RAY_ADDRESS without Ray names the extra, before anything is written."""
    project.set(extract__dtype="float16")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert stage(project, monkeypatch, "extract") == (
        "extract: RAY_ADDRESS is set, but ray is not installed; install the "
        "extra cluster on every node: python -m pip install "
        "'ray[data]==2.51.2'")
    assert contents(project)


def test_plan_refuses(project, monkeypatch, capsys):
    """A plan that does not fit is refused with numbers; nothing changes."""
    project.set(extract__dtype="float16")
    shutil.rmtree(project.file("features/scratch"))    # would be freed
    before = contents(project)
    Usage = namedtuple("Usage", "free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(1e5))
        line = stage(project, patch, "extract")
        project.set(resize__side=64)    # the old images would be removed
        assert stage(project, patch, "resize") == (
            "resize: data/resized: needs 3.69 MB of disk, 1.02 MB are free: "
            "lower resize.side, or free disk space")
        project.set(resize__side=32)
    assert line == (
        "extract: features: needs 154 kB of disk, 100 kB are "
        "free: lower resize.side, name fewer extract.views or "
        "extract.layers, choose a later backbone.cut, set extract.dtype to "
        "float16, or free disk space")
    assert contents(project) == before


def test_train_reads_from_disk(project, monkeypatch, capsys):
    """Features that do not fit into memory: said, and the same head."""
    assert stage(project, monkeypatch, "train") is None
    with open(project.file("models/head.h5"), "rb") as file:
        before = file.read()
    monkeypatch.setattr("psutil.virtual_memory",
                        lambda: namedtuple("M", "available")(1e5))
    assert stage(project, monkeypatch, "extract") is None
    assert ("training needs 205 kB of memory, 100 kB are free: it will read "
            "the features from disk") in capsys.readouterr().out
    assert stage(project, monkeypatch, "train") is None
    assert "train: reads the features from disk" in capsys.readouterr().out
    with open(project.file("models/head.h5"), "rb") as file:
        assert file.read() == before


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs two disks")
def test_plan_of_a_cache_elsewhere(project, monkeypatch, capsys):
    """DVC's cache on another disk needs space on that disk."""
    project.set(extract__dtype="float16")
    shutil.rmtree(project.file("features/scratch"))
    project.run("dvc cache dir --local /dev/shm")
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple(
        "Usage", "free")(1e5) if path == "/dev/shm" else real(path))
    assert stage(project, monkeypatch, "extract").startswith(
        "extract: the cache of DVC: needs 154 kB of disk, 100 kB are free: ")
    assert "extract: features: writes 154 kB (float16, " in (
        capsys.readouterr().out)


def test_plan_changes_nothing(project):
    """The plan reports what a run would do, and does not do it."""
    project.set(extract__dtype="float16")
    before = project.md5()
    done = project.run("python -m commands.plan_extract")
    assert done.returncode == 0, done.stdout
    assert "computes 300 of 300 rows: dtype changed" in done.stdout
    assert re.search(r"about 0 min 0 s at [\d,]+ images/s", done.stdout)
    project.set(extract__dtype="float32")
    assert "up to date" in project.run("dvc status extract").stdout
    assert project.md5() == before
    project.set(resize__side=40)
    done = project.run("python -m commands.plan_extract")
    assert (done.returncode, done.stdout) == (
        1, "plan_extract: data/resized/train_x.npy: images of 32 px, "
        "resize.side is 40; run `dvc repro resize` first\n")


def test_every_bit_of_a_header(tmp_path):
    """A flipped bit gives an ArtefactError, or an array that can be read."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3, 2), np.float32))
    whole, refused = path.read_bytes(), 0
    for bit in range(8 * 128):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            arrays.open_array(str(path))
        except errors.ArtefactError:
            refused += 1
    assert refused > 200


def test_rotten_scratch(project, monkeypatch, capsys):
    """A damaged row of the scratch is named, and computed again."""
    before = contents(project)
    flip(scratch(project))
    os.unlink(project.file("dvc.lock"))
    count, _, text = extract(project, monkeypatch, capsys)
    assert count == 1
    assert "/train_x.npy: 1 damaged rows (179) are not reused" in text
    assert contents(project) == before


def test_rotten_cache(project, monkeypatch):
    """A damaged row of a pulled array, and so of DVC's cache, is repaired."""
    before = project.md5()
    md5 = before["features/train_x.npy"]
    shutil.rmtree(project.file("features/scratch"))
    for path in (f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}",
                 "features/train_x.npy"):
        flip(project.file(path))    # links of one file, before it was copied
    project.repro()    # DVC restores what it has, and trusts it
    assert stage(project, monkeypatch, "train").startswith(
        "train: features/train_x.npy: its SHA-256 differs from that in "
        "features/manifest.json; run `make repair`")
    done = project.run("python -m commands.verify_artefacts --repair")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^features/train_x.npy: differs from .*: 1 damaged "
                     "rows: 179; written by extract$", done.stdout, re.M)
    assert "computes 1 of 300 rows" in done.stdout
    assert project.repro() == []
    assert project.md5() == before


def test_rotten_manifest(project, monkeypatch):
    """A damaged manifest is refused."""
    flip(project.file("features/manifest.json"), 100)
    assert re.match("train: features/manifest.json: (damaged: not as it was "
                    "written|cannot be used)",
                    stage(project, monkeypatch, "train"))


def test_stale_array(project, monkeypatch, capsys):
    """An array of other weights under the same name is refused, and named."""
    project.set(backbone__weights="models/weights/random.yaml")
    extract(project, monkeypatch, capsys)
    shutil.copy(project.file(FEATURES[0]), project.file("stale.npy"))
    project.run("git checkout params.yaml")
    extract(project, monkeypatch, capsys)
    os.replace(project.file("stale.npy"), project.file(FEATURES[0]))
    assert stage(project, monkeypatch, "train").startswith(
        "train: features/train_x.npy: its SHA-256 differs")
    line = stage(project, monkeypatch, "commands.verify_artefacts")
    assert line.startswith("verify_artefacts: damaged or missing: 1 files\n"
                           "features/train_x.npy: differs from dvc.lock: 180 "
                           "damaged rows: 0, 1, 2")
