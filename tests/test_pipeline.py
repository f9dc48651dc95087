#!/usr/bin/env python3
"""`dvc repro` from end to end: its files and its output."""
import json
import os
import runpy
import subprocess

import h5py
import numpy as np
import pytest
from conftest import CLASSES, check, environment, stage, tiny_arrays
from sklearn.metrics import log_loss

from stages.lib.common import errors, keras_runtime, manifest
from stages.lib.fusing import parity, safe_loading, sample, verdict
from stages.lib.images import prepared, views


def metrics(project):
    """Return results/metrics.json."""
    with open(project.file("results/metrics.json"), encoding="utf-8") as file:
        return json.load(file)


def test_artefacts_keep_their_contract(finished):
    """Outs have the documented types and shapes."""
    rows = {"train": 180, "validation": 20, "test": 100}
    for split, n in rows.items():
        for name, dtype, shape in [
                (f"data/prepared/{split}_x.npy", "uint8", (n, 16, 16, 3)),
                (f"data/prepared/{split}_y.npy", "uint8", (n,)),
                (f"data/resized/{split}_x.npy", "uint8", (n, 32, 32, 3)),
                (f"features/{split}_x.npy", "float32", (n, 256))]:
            array = np.load(finished.file(name), mmap_mode="r")
            assert (array.dtype, array.shape) == (dtype, shape), name
    labels = np.load(finished.file("data/prepared/validation_y.npy"))
    assert (np.bincount(labels) == 2).all()    # stratified
    model = keras_runtime.load_model(finished.file("cifar10.h5"))
    assert model.input_shape == (None, 16, 16, 3)
    assert model.layers[1].output_shape == (None, 32, 32, 3)
    assert [weight.name.split("/")[0] for weight in model.trainable_weights
            ] == ["head_hidden_1"] * 2 + ["head_output"] * 2
    with h5py.File(finished.file("cifar10.h5")) as file:
        assert list(file.attrs["class_names"]) == list("0123456789")
        assert file.attrs["training_config"]
        assert finished.path not in str(file.attrs["model_config"])
    with open(finished.file("results/parity.json"), encoding="utf-8") as file:
        parity = json.load(file)
    assert parity["probability_difference"] <= 1e-4
    assert parity["class_agreement"] == 1
    history = np.genfromtxt(finished.file("results/history.csv"),
                            delimiter=",", names=True)
    assert len(history) == 15
    score = metrics(finished)["validation"]["accuracy"]
    assert score == pytest.approx(history["val_accuracy"].max())
    assert finished.run("git status --short").stdout == "?? dvc.lock\n"
    assert "up to date" in finished.run("dvc status").stdout


def test_rows_are_images(finished):
    """Row i of the arrays is an image of the source, with its label."""
    source = tiny_arrays()
    known = {x.tobytes(): y for x, y in zip(source["x_train"],
                                            source["y_train"])}
    for split in ("train", "validation"):
        x = np.load(finished.file(f"data/prepared/{split}_x.npy"))
        y = np.load(finished.file(f"data/prepared/{split}_y.npy"))
        assert [known.pop(image.tobytes()) for image in x] == list(y)
    assert not known


def test_checker(finished):
    """A fresh process reloads the model without a warning; scores agree."""
    loss, accuracy = check(finished, f"{finished.folder}/tiny.npz")
    test = metrics(finished)["test"]
    assert accuracy == pytest.approx(test["accuracy"], abs=1e-6)
    assert loss == pytest.approx(test["loss"], abs=1e-4)
    assert test["accuracy_low"] < test["accuracy"] <= test["accuracy_high"]


def test_script_leaves_the_model_here(finished, tmp_path):
    """0-transfer.py writes the model to the current directory."""
    done = subprocess.run([finished.file("0-transfer.py")], cwd=tmp_path,
                          env=environment(), text=True, check=True,
                          stdout=subprocess.PIPE)
    accuracy = metrics(finished)["test"]["accuracy"]
    assert accuracy >= 0.87
    assert (done.stdout.splitlines()[-1]
            == f"cifar10.h5: test accuracy {accuracy:.4f}")
    with open(finished.file("cifar10.h5"), "rb") as file:
        assert file.read() == (tmp_path / "cifar10.h5").read_bytes()


def test_script_writes_no_damaged_model(project, tmp_path):
    """A damaged model is not copied; a folder that is missing is one line."""
    with open(project.file("cifar10.h5"), "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 1
    os.unlink(project.file("cifar10.h5"))    # it may be a hard link
    with open(project.file("cifar10.h5"), "wb") as file:
        file.write(data)
    project.run("dvc commit --force fuse export")    # DVC has not noticed
    done = subprocess.run([project.file("0-transfer.py")], cwd=tmp_path,
                          env=environment(), text=True, check=False,
                          stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.endswith("0-transfer.py: damaged, see above; no new "
                                "cifar10.h5 is written\n"), done.stderr
    assert not (tmp_path / "cifar10.h5").exists()
    script = runpy.run_path(project.file("0-transfer.py"))
    with pytest.raises(SystemExit, match="^0-transfer.py: .*/none/c.h5 cannot "
                       "be written here .No such file or directory.$"):
        script["copy"](__file__, f"{tmp_path}/none/c.h5")


@pytest.mark.slow
def test_random_labels_miss_every_floor(project, tmp_path):
    """The counterpart of the two tests above: random labels must fail.

    The data set has a head with logits, too, and labels of shape (n, 1).
    """
    arrays = tiny_arrays()
    random = np.random.default_rng(0)
    for name in ("y_train", "y_test"):
        arrays[name] = random.permutation(arrays[name])[:, None]
    np.savez(tmp_path / "tiny.npz", **arrays,
             class_names=[f"class {k}" for k in range(CLASSES)])
    project.set(data__source=f"{tmp_path}/tiny.npz", train__output="logits",
                train__hidden=[])
    done = project.run("./0-transfer.py")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0-transfer.py: below 0.87", \
        done.stdout
    test = metrics(project)["test"]
    assert check(project, str(tmp_path / "tiny.npz"))[0] == pytest.approx(
        test["loss"], abs=1e-4)    # logits, and a loss that fits them
    project.set(evaluate__accuracy_floor=0.87)
    done = project.run("dvc repro")
    assert done.returncode != 0
    assert (f"evaluate: test accuracy {test['accuracy']:.4f} is below "
            "evaluate.accuracy_floor 0.87") in done.stdout
    assert metrics(project)["test"] == test


def test_large_images_are_not_compared(finished, monkeypatch, capsys):
    """The model's float32 copies of an image are bounded, and padding counts.
    """
    monkeypatch.chdir(finished.path)
    monkeypatch.setattr(sample, "MAX_MEGAPIXELS", 1e-4)    # 100 pixels
    monkeypatch.setattr(prepared.Images, "size",
                        lambda _, row: (5, 20) if row else (30, 30))
    rows = sample.Sample(f"{finished.folder}/tiny.npz", "stretch")
    assert len(rows) == len(rows.names) == 297
    assert capsys.readouterr().out == (
        "fuse: 3 of 300 images are not compared: larger than 0.0001 "
        "megapixels\n")
    rows = sample.Sample(f"{finished.folder}/tiny.npz", "pad")
    assert len(rows) == 1 and rows.names[0].startswith("train row 1 (")
    assert "299 of 300 images" in capsys.readouterr().out


def test_changed_weight_is_found(project, finished, monkeypatch):
    """One changed weight, or a warning, fails the comparison."""
    def compare(path):
        """Return the error of the comparison with the model at `path`."""
        try:
            measured = parity.measure(path, f"{finished.folder}/tiny.npz",
                                      "stretch")
            verdict.judge(measured, manifest.read()["key"])
        except errors.ParityError as error:
            return str(error)
        return None

    monkeypatch.chdir(project.path)
    assert compare("cifar10.h5") is None
    project.run("cp --remove-destination $(readlink -f cifar10.h5) new.h5 && "
                "chmod +w new.h5")
    with h5py.File(project.file("new.h5"), "r+") as file:
        file["model_weights/conv1/conv1/kernel:0"][1, 1, 0, 3] += 1e-7
    assert "the weights of the frozen part differ" in compare("new.h5")
    with h5py.File(project.file("new.h5"), "r+") as file:
        file["model_weights/conv1/conv1/kernel:0"][1, 1, 0, 3] += 0.5
    line = compare("new.h5")
    assert "the fused model disagrees with head(cached features)" in line
    assert " row " in line
    project.run("cp cifar10.h5 other.h5 && chmod +w other.h5")
    with h5py.File(project.file("other.h5"), "r+") as file:
        file["model_weights/head_output/head_output/kernel:0"][3, 4] *= 1.001
    assert compare("other.h5").startswith(
        "the weights of head_output differ from those in models/head.h5; ")
    with h5py.File(project.file("new.h5"), "r+") as file:
        del file.attrs["training_config"]    # Keras logs that it is missing
    assert compare("new.h5").startswith("loading warns: No training")


def test_model_that_averages_views(project, finished, monkeypatch):
    """It predicts what `evaluate` scores as the mean over cached views."""
    seen = ["identity", "hflip", "left+zoom", "up"]
    project.set(evaluate__views=seen, fuse__views=seen)
    for name in ("extract", "evaluate", "fuse"):
        assert stage(project, monkeypatch, name) is None
    path = project.file("cifar10.h5")
    safe_loading.check(path)
    p = keras_runtime.load_model(path).predict(
        np.load(project.file("data/prepared/test_x.npy")), verbose=0)
    assert metrics(project)["test_views"]["loss"] == pytest.approx(log_loss(
            np.load(project.file("data/prepared/test_y.npy")), p), rel=1e-4)
    monkeypatch.setitem(views.PARTS, "hflip", lambda images: images)
    with pytest.raises(errors.ParityError, match="view hflip .*other pixels"):
        parity.measure("cifar10.h5", f"{finished.folder}/tiny.npz", "stretch")


def test_constant_features_stop_fuse(project, finished, monkeypatch):
    """A backbone with the same output for every image gives no model."""
    with h5py.File(project.file("dead.h5"), "w") as dead, \
            h5py.File(f"{finished.folder}/tiny.h5") as alive:
        for name in alive:
            alive.copy(name, dead)
        dead.attrs.update(alive.attrs)
        dead["conv_pw_13/conv_pw_13/kernel:0"][...] = 0
    project.set(backbone__weights="dead.h5", train__epochs=1)
    assert stage(project, monkeypatch, "extract") is None
    assert stage(project, monkeypatch, "train") is None
    assert stage(project, monkeypatch, "fuse").startswith(
        "fuse: no cifar10.h5 written: the features do not vary over "
        "images: train row 0 (x_train[0]) is like all others")
    assert project.run("ls cifar10.h5").returncode != 0
