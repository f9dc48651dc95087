#!/usr/bin/env python3
"""Invalid input gives one clear line and leaves no incomplete file."""
import os
import re
import resource
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from conftest import environment, stage, tiny_arrays

from stages.lib.common import arrays, keras_runtime
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params

PREPARED = "data/prepared/train_x.npy"


def refuse(project, monkeypatch, name, pattern):
    """Check that a stage ends with one line that matches `pattern`."""
    line = stage(project, monkeypatch, name)
    assert isinstance(line, str) and "\n" not in line
    assert re.match(f"{name}: " + pattern, line), line
    for _, _, names in os.walk(project.path):
        assert not [name for name in names if name.endswith(".part")]


@pytest.mark.parametrize("values, pattern", [
    ({"train__epochz": 3}, r"params.yaml: train.epochz: unknown name 'epochz'"
                           r"; did you mean 'epochs'\? known: batch_size"),
    ({"train__epochs": "3"}, r"params.yaml: train.epochs: .*integer.*'3'"),
    ({"train__epochs": 0}, r"params.yaml: train.epochs: .*1, not 0"),
    ({"train__learning_rate": "1e-3"}, r"params.yaml: train.learning_rate: "),
    ({"train__learning_rate": float("nan")}, r".*learning_rate: .*finite"),
    ({"train__hidden": [16, -1]}, r"params.yaml: train.hidden.1: .*1, not -1"),
    ({"train__dropout": 1.0}, r"params.yaml: train.dropout: .*less than 1"),
    ({"train__output": "sigmoid"}, r".*output: .*'softmax' or 'logits'"),
    ({"train__optimizer": "Adma"}, r".*optimizer: unknown name 'Adma'; did "
                                   r"you mean 'Adamax'\? known: Adadelta, .*"),
    ({"backbone__application": "MobilNet"},
     r".*application: unknown name 'MobilNet'; did you mean 'MobileNet'\? "
     r"known: AlexNet, ConvNeXtBase, .*Xception"),
    ({"backbone__options": {"alhpa": 1.0}},
     r".*backbone: MobileNet takes no option 'alhpa' \(it takes: alpha"),
    ({"extract__views": ["identity", "vflip"]},
     r".*views: unknown view 'vflip'; known: identity, or joined by \+: hfl"),
    ({"extract__layers": "top"}, r".*extract.layers: .*list, not 'top'"),
    ({"extract__layers": []}, r".*extract.layers: .*at least 1 item"),
    ({"extract__views": ["hflip"]}, r".*views: must begin with identity"),
    ({"export__formats": ["h6"]}, r".*formats.0: .*'tflite' or 'onnx'"),
    ({"export__formats": ["onnx"]}, r".*formats: .*run `make onnx` once"),
    ({"export__formats": ["h5", "h5"]}, r".*formats: .*each format once"),
    ({"data__source": "labels.csv", "resize__mode": "pad",
      "export__formats": ["h5", "savedmodel"]},
     r"params.yaml: export: h5 cannot rescale photographs with resize.mode "
     r"pad, .* remove it from the list \(savedmodel can; \[\] exports"),
    ({"fuse__views": ["identity", "hflip"], "export__formats": ["h5"]},
     r".*export: a model that averages fuse.views cannot be exported: set e"),
    ({"fuse__output": "models/candidate.h5"},
     r".*fuse.output: models/candidate.h5 is a file of the pipeline; write"),
    ({"fuse__output": "./c.h5"}, r".*fuse.output: write ./c.h5 as c.h5$"),
    ({"fuse__views": ["identity", "hflip"], "train__output": "logits"},
     r".*fuse: views averages probabilities: set train.output to softmax"),
    ({"data__validation_fraction": 1.5}, r".*validation_fraction: .*than 1"),
    ({"backbone__cut": [1]}, "params.yaml: backbone.cut: .*integer or .*str"),
    ({"data__columns": 3}, "params.yaml: data.columns: .*group of keys, not"),
    ({"data__source": "../tiny.npz"}, r".*source: ../tiny.npz is outside the "
                                      r"repository; write its absolute path: "
                                      r"/.*/tiny.npz"),
    ({"backbone__weights": "../tiny.h5"}, r".*weights: ../tiny.h5 is outside"),
    ({"data__source": "pictures.zip"}, r".*unknown kind of source; known: "),
    ({"data__source": "nowhere.npz"}, r"nowhere.npz: .*No such file"),
    ({"data__source": "nowhere.yaml"}, r"nowhere.yaml: .*No such file"),
    ({"data__source": "params.yaml"}, r"params.yaml: kind: unknown None; "
                                      r"known: cifar10, digits"),
])
def test_params(project, monkeypatch, values, pattern):
    """A stage refuses invalid parameters before it writes a file."""
    project.set(**values)
    before = os.stat(project.file(PREPARED)).st_ino
    refuse(project, monkeypatch, "prepare", pattern)
    assert os.stat(project.file(PREPARED)).st_ino == before


@pytest.mark.parametrize("text, pattern", [
    ("", "params.yaml: contains no keys; write `key: value`"),
    ("- data", "params.yaml: contains no keys; write `key: value`"),
    ("data: [1", r"params.yaml: cannot be read \(while parsing a flow seq")])
def test_params_without_keys(project, monkeypatch, text, pattern):
    """A file that is not YAML, or contains no keys, is refused."""
    with open(project.file("params.yaml"), "w", encoding="utf-8") as file:
        file.write(text)
    refuse(project, monkeypatch, "prepare", pattern)


@pytest.mark.parametrize("change, pattern", [
    ({"x_train": None}, "no array x_train; an .npz source contains x_train"),
    ({"x_train": np.zeros((200, 16, 16, 3))}, "x_train: dtype float64"),
    ({"x_test": np.full((100, 16, 16, 3), np.nan, "float32")},
     "x_test: dtype float32; images must be uint8"),
    ({"x_train": np.zeros((200, 16, 16), "uint8")}, r"x_train: shape \(200, "),
    ({"x_train": np.zeros((9, 16, 16, 3), "uint8")},
     "x_train has 9 rows, y_train 200"),
    ({"x_test": np.zeros((0, 16, 16, 3), "uint8"),
      "y_test": np.zeros(0, "uint8")}, "x_test: the split is empty"),
    ({"x_test": np.zeros((100, 8, 8, 3), "uint8")}, "x_train has images of"),
    ({"y_train": np.arange(200) % 10 - 1}, "y_train: label -1, but none 0"),
    ({"y_train": np.arange(200) % 10 * 2}, "y_train: label 2, but none 1"),
    ({"y_train": np.full(200, 2**63 - 1)}, "y_train: label 9223372036854775"),
    ({"y_train": np.arange(200, dtype="uint64") % 10 + 1},
     "y_train: label 1, but none 0"),
    ({"class_names": np.array("red")}, r"class_names: <U3, shape \(\); must"),
    ({"class_names": ["red"] * 10}, "class_names: 1 different names"),
    ({"y_train": np.zeros(200, "uint8"), "y_test": np.zeros(100, "uint8")},
     "y_train: all images are of one class; at least two"),
    ({"y_test": np.full(100, 10)}, "y_test: label 10; .* are 0..9"),
    ({"y_train": np.full(200, np.nan)}, "y_train: float64.*integers"),
    ({"y_train": np.eye(10, dtype="uint8")[np.arange(200) % 10]},
     r"y_train: uint8, shape \(200, 10\); labels must be integers, \(n,\)"),
    ({"x_train": np.array([None] * 200)}, ".*pickled objects"),
])
def test_arrays(project, monkeypatch, change, pattern):
    """An `.npz` that is not a data set is refused; the array is named."""
    arrays = {name: value for name, value in
              {**tiny_arrays(), **change}.items() if value is not None}
    np.savez(project.file("bad.npz"), **arrays)
    project.set(data__source="bad.npz")
    refuse(project, monkeypatch, "prepare", "bad.npz: .*" + pattern)


@pytest.mark.parametrize("bytes_", [b"", b"PK\3\4", b"\x80\4N.", b"text"])
def test_damaged_npz(project, monkeypatch, bytes_):
    """Empty, truncated, pickled or other files are not an `.npz`."""
    with open(project.file("bad.npz"), "wb") as file:
        file.write(bytes_)
    project.set(data__source="bad.npz")
    refuse(project, monkeypatch, "prepare", "bad.npz: no arrays can be read")


def test_truncated_npz(project, finished, monkeypatch):
    """Half of a good `.npz` is refused."""
    with open(f"{finished.folder}/tiny.npz", "rb") as file:
        whole = file.read()
    with open(project.file("bad.npz"), "wb") as file:
        file.write(whole[:len(whole) // 2])
    project.set(data__source="bad.npz")
    refuse(project, monkeypatch, "prepare", "bad.npz: no arrays can be read")


def test_bytes_in_an_npz(project, monkeypatch):
    """What is no array in an .npz file is named; left-overs are removed."""
    left = project.file("data/prepared/tmp123.npy.part")    # by kill -9
    with open(left, "wb"), zipfile.ZipFile(
            project.file("zipped.npz"), "w") as file:
        for name in ("x_train", "y_train"):
            file.writestr(f"{name}.npy", b"no array")
    project.set(data__source="zipped.npz")
    refuse(project, monkeypatch, "prepare",
           r"zipped.npz: x_train: cannot be read \(not an array\)")


def test_inputs_change_meanwhile(project, monkeypatch):
    """A stage fails if its parameters or files change while it runs.

    DVC would record the new ones as the inputs of the old result.
    """
    real = params.read

    def refuse_after(change, name, pattern):
        """Refuse a stage whose inputs change when it has read parameters."""
        with monkeypatch.context() as patch:
            patch.setattr(params, "read", lambda: (real(), change())[0])
            if pattern:
                refuse(project, patch, name, pattern)
            else:
                assert stage(project, patch, name) is None

    code = project.file("stages/lib/results")
    for change, name, pattern in [
            (lambda: project.set(train__epochs=16, data__seed=1), "train",
             "train.epochs: changed while this stage ran, .* run `dvc repro`"),
            (lambda: os.utime(project.file("models/head.h5"), ns=(0, 0)),
             "evaluate", "models/head.h5: changed"),
            (lambda: os.utime(f"{code}/scores.py", ns=(0, 0)), "evaluate",
             None),    # the same text
            (lambda: open(f"{code}/new.py", "w").close(), "evaluate",
             "stages/lib/results: changed")]:
        refuse_after(change, name, pattern)
    assert stage(project, monkeypatch, "train") is None


def test_interrupted_and_linked(project, monkeypatch):
    """Ctrl-C leaves nothing half-written; a folder of outs is no link."""
    def interrupt(*_):
        """Do as Ctrl-C does, while an array is written."""
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(arrays.ArrayWriter, "append", interrupt)
        refuse(project, patch, "prepare", "interrupted; no incomplete file")
    os.rename(project.file("results"), project.file("elsewhere"))
    os.symlink("elsewhere", project.file("results"))
    refuse(project, monkeypatch, "evaluate", "results: is a link, behind whic")


def test_descriptor(project, monkeypatch):
    """A descriptor's keys are checked like parameters."""
    with open(project.file("d.yaml"), "w", encoding="utf-8") as file:
        file.write("kind: digits\nclass_names: []\nseed: 0\nfraction: 0.2\n")
    project.set(data__source="d.yaml")
    refuse(project, monkeypatch, "prepare", "d.yaml: (test_fraction: missing|"
           "fraction: unknown name)")


def test_no_network(project, monkeypatch):
    """A failed download names the file to copy and the parameter to set."""
    monkeypatch.setenv("HOME", project.path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    project.set(data__source="data/raw/cifar10.yaml")
    refuse(project, monkeypatch, "prepare", "CIFAR-10 cannot be downloaded "
           ".*use an .npz .* set data.source to its path")
    project.set(backbone__weights="models/weights/imagenet.yaml")
    refuse(project, monkeypatch, "extract",
           "models/weights/imagenet.yaml: mobilenet_2_5_224_tf_no_top.h5 "
           "cannot be downloaded .*; copy it .* backbone.weights to its path")


def test_imagenet_means_224(project, finished, monkeypatch):
    """Keras' own 224 px file is used at every side."""
    monkeypatch.setenv("HOME", project.path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    os.makedirs(project.file(".keras/models"))
    os.link(f"{finished.folder}/tiny.h5", project.file(
        ".keras/models/mobilenet_2_5_224_tf_no_top.h5"))
    with open(project.file("features/train_x.npy"), "rb") as file:
        before = file.read()
    project.set(backbone__weights="models/weights/imagenet.yaml")
    assert stage(project, monkeypatch, "extract") is None
    with open(project.file("features/train_x.npy"), "rb") as file:
        assert file.read() == before


def test_backbone(project, finished, monkeypatch):
    """Weights that do not fit, and a side that is too small, are refused."""
    project.set(backbone__options={"alpha": 0.5})
    refuse(project, monkeypatch, "extract", r".*tiny.h5: these weights do not "
           r"fit MobileNet\(alpha=0.5\) without top")
    project.set(backbone__options={"alpha": 0.3})
    project.set(backbone__weights="models/weights/imagenet.yaml")
    refuse(project, monkeypatch, "extract", ".*no ImageNet weights for "
           r"MobileNet\(alpha=0.3\)")
    project.set(backbone__weights="README.md")
    refuse(project, monkeypatch, "extract", ".*README.md is neither")
    project.set(backbone__weights="none.h5")
    refuse(project, monkeypatch, "extract", "none.h5: no weights can be read")
    with h5py.File(project.file("nan.h5"), "w") as file, \
            h5py.File(f"{finished.folder}/tiny.h5") as good:
        for name in good:
            good.copy(name, file)
        file.attrs.update(good.attrs)
        file["conv1/conv1/kernel:0"][0, 0, 0, 0] = np.nan
    project.set(backbone__options={"alpha": 0.25},
                backbone__weights="nan.h5")
    refuse(project, monkeypatch, "extract", "nan.h5: not all weights are "
           "finite")
    project.set(backbone__weights="models/weights/random.yaml",
                resize__side=16)
    assert stage(project, monkeypatch, "resize") is None
    refuse(project, monkeypatch, "extract", "backbone.application MobileNet "
           "cannot be built .*resize.side 16: .*at least 32x32")


def test_damaged_artefacts(project, monkeypatch):
    """A stage names the damaged file of an earlier one."""
    path = project.file("features/train_x.npy")
    with open(path, "rb") as file:
        whole = file.read()
    for content in (whole[:-1], whole + b"0", b"", whole[:40]):
        os.unlink(path)    # never write in place: it may be a hard link
        with open(path, "wb") as file:
            file.write(content)
        refuse(project, monkeypatch, "train", "features/train_x.npy: cannot "
               r"be used .*\); run `make repair`, then `dvc repro`")
    with open(path, "wb") as file:
        file.write(whole[:-1] + b"0")
    refuse(project, monkeypatch, "train", "features/train_x.npy: its "
           "SHA-256 differs from that in .*manifest.json; run `make repair`")
    os.unlink(project.file("models/head.h5"))
    refuse(project, monkeypatch, "evaluate", "models/head.h5: no model")
    os.unlink(project.file("features/manifest.json"))
    refuse(project, monkeypatch, "fuse", "features/manifest.json: missing; "
           "run `dvc repro`")
    os.unlink(project.file("data/resized/test_x.npy"))
    refuse(project, monkeypatch, "extract", "data/resized/test_x.npy: missing;"
           " run `dvc repro`")


def test_other_head(project, monkeypatch):
    """A head for other features or classes is neither fused nor scored."""
    for shape, classes in (((256,), 3), ((255,), 10)):
        given = keras.Input(shape)
        model = keras.Model(given, keras.layers.Dense(classes)(given))
        keras_runtime.save_model(model, project.file("models/new.h5"))
        os.replace(project.file("models/new.h5"),
                   project.file("models/head.h5"))
        for name in ("evaluate", "fuse"):
            refuse(project, monkeypatch, name, re.escape(
                f"models/head.h5: expects features of shape {shape} and has "
                f"{classes} outputs, but the features have shape (256,) and "
                "10 classes; delete it"))


def test_stale_features(project, monkeypatch):
    """Features of other weights are not fused, and no model is left."""
    project.set(backbone__weights="models/weights/random.yaml")
    refuse(project, monkeypatch, "fuse", "features: computed with weights ")
    assert not os.path.exists(project.file("cifar10.h5"))


def test_diverging_training(project, monkeypatch):
    """A loss that is not finite is an error, not a model."""
    project.set(train__learning_rate=1e38, train__optimizer="SGD")
    refuse(project, monkeypatch, "train", "the loss is not finite; lower")


@pytest.mark.parametrize("name, file", [
    ("prepare", "data/prepared/train_x.npy"),
    ("extract", r"features/scratch/\w+/train_x.npy"),
    ("train", "models/head.h5"), ("fuse", "models/candidate.h5")])
def test_disk_full(project, monkeypatch, name, file):
    """A failed write is one line; the previous files remain."""
    def limit():
        """Limit each file to 100,000 bytes."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    listed = "md5sum data/prepared/*.* features/*.npy features/*.json"
    project.run("dvc status")    # DVC makes its own data bases
    before = project.run(listed).stdout
    for folder, _, names in os.walk(project.file("features/scratch")):
        for array in names:    # not the converted graph
            if array.endswith(".npy"):
                os.unlink(os.path.join(folder, array))
    os.unlink(project.file("dvc.lock"))
    done = subprocess.run([sys.executable, "-m", f"stages.{name}"],
                          cwd=project.path, env=environment(), text=True,
                          preexec_fn=limit, stderr=subprocess.PIPE,
                          check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"{name}: {file}: cannot be written \(File too large\); free "
        "disk space or fix the permissions, then run again\n",
        done.stderr), done.stderr
    assert not project.run("find . -name '*.part'").stdout
    assert project.run(listed).stdout == before
    if name == "extract":    # there is room again
        assert stage(project, monkeypatch, name) is None
        assert project.run(listed).stdout == before
