#!/usr/bin/env python3
"""Cuts, the training of the tail, and the fused model."""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, environment, stage
from tensorboard.backend.event_processing.event_accumulator import \
    EventAccumulator

from commands import convert_alexnet
from stages.lib.backbone import backbone, cuts
from stages.lib.common import errors, files, keras_runtime, seals
from stages.lib.common.keras_runtime import keras
from stages.lib.params import params
from stages.lib.training import numpy_head

CUT = "conv_pw_5_relu"
SETTINGS = {"backbone__cut": CUT, "extract__dtype": "float16",
            "extract__views": ["identity", "hflip"], "tail__epochs": 2,
            "tail__learning_rate": 1e-4, "train__epochs": 3,
            "tail__batch_norm": "inference",
            "train__label_smoothing": 0.1}


def run(project, monkeypatch, *names):
    """Run stages in this process; each must succeed."""
    for name in names:
        assert stage(project, monkeypatch, name) is None, name


def weights(path):
    """Return layer -> its weights in the Keras file at `path`."""
    layers = keras_runtime.load_model(path).layers
    return {layer.name: layer.get_weights() for layer in layers}


def test_tail(project, finished, monkeypatch):
    """A killed training resumes and writes the same bytes; fuse uses them.

    The frozen part keeps its weights exactly; the tail's weights change.
    """
    project.set(**SETTINGS)
    run(project, monkeypatch, "extract", "train")
    maps = np.load(project.file("features/train_x.npy"))
    assert (maps.shape, maps.dtype) == ((180, 4, 4, 64), "float16")
    killed_and_resumed(project)
    run(project, monkeypatch, "fuse", "evaluate")
    history = np.genfromtxt(project.file("results/history.csv"), names=True,
                            delimiter=",", dtype=None, encoding="utf-8")
    assert list(history["part"]) == ["head"] * 3 + ["tail"] * 2
    assert history["loss"][-1] < history["loss"][0]
    log = EventAccumulator(sorted(glob.glob(project.file(
        "logs/train/*/train")))[-1])
    log.Reload()
    steps = [event.step for event in log.Tensors("epoch_accuracy")]
    assert steps == sorted(set(steps)) and max(steps) == 4
    before = weights(finished.file("cifar10.h5"))
    after = weights(project.file("cifar10.h5"))
    names = [name for name in before if not name.startswith("head")]
    assert [name for name in after if not name.startswith("head")] == names
    for name in names[:names.index(CUT) + 1]:
        for old, new in zip(before[name], after[name]):
            assert np.array_equal(old, new), name
    best = history["val_accuracy"].argmax()
    changed = {name for name in names[names.index(CUT):]
               for old, new in zip(before[name], after[name])
               if (old != new).any()}
    assert bool(changed) == (best >= 3)    # the best epoch may be the head's
    assert not any("bn" in name for name in changed)    # inference


def killed_and_resumed(project):
    """Train again, `kill -9` after an epoch of the tail, resume, compare."""
    with open(project.file("models/head.h5"), "rb") as file:
        expected = file.read()
    progress = project.file("models/scratch/progress.npz")
    assert not os.path.exists(progress)
    os.unlink(project.file("models/head.h5"))
    command = [sys.executable, "-m", "stages.train"]
    killed = subprocess.Popen(command, cwd=project.path, env=environment())
    while not os.path.exists(progress):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with np.load(progress) as file:
        done = len(json.loads(str(file["history"]))[0])
    assert not os.path.exists(project.file("models/head.h5"))
    again = subprocess.run(command, cwd=project.path, env=environment(),
                           text=True, stdout=subprocess.PIPE, check=True)
    assert f"train: resumes after epoch {done} of the tail\n" in again.stdout
    with open(project.file("models/head.h5"), "rb") as file:
        assert file.read() == expected


@pytest.mark.parametrize("values", [
    {"train__label_smoothing": 0.2, "train__output": "logits"},
    {"train__optimizer": "RMSprop", "train__patience": 1,
     "train__epochs": 40}])
def test_heads(project, monkeypatch, values):
    """Logits, any optimizer; patience keeps the best epoch, not the last."""
    project.set(**values)
    run(project, monkeypatch, "train")
    if "train__output" in values:
        run(project, monkeypatch, "fuse", "evaluate")
    history = files.read_columns(project.file("results/history.csv"),
                                 files.HISTORY)
    best = int(np.argmax(history["val_accuracy"]))
    epochs = len(history["loss"])
    if "train__patience" in values:
        assert epochs == best + 2 < 40
    else:
        assert epochs == 15
    kinds = [type(layer) for layer in keras_runtime.load_model(
        project.file("models/head.h5")).layers]
    assert kinds.count(keras.layers.Dense) == 2
    plain = numpy_head.load(project.file("models/head.h5"))
    p = plain.probabilities(np.load(project.file("features/validation_x.npy")))
    labels = np.load(project.file("data/prepared/validation_y.npy"))
    assert (p.argmax(1) == labels).mean() == pytest.approx(
        history["val_accuracy"][best])


def test_weights_of_classes(project, monkeypatch):
    """Rare classes count more, if train.class_weights says so."""
    path = project.file("data/prepared/train_y.npy")
    labels = np.load(path)
    labels[np.flatnonzero(labels == 3)[2:]] = 4
    os.unlink(path)    # never write in place: it may be a hard link
    np.save(path, labels)
    monkeypatch.chdir(project.path)
    seals.write("stages/prepare.py")
    x, found = np.load("features/train_x.npy"), []
    for weights in ("none", "balanced"):
        project.set(train__class_weights=weights, train__epochs=3,
                    train__hidden=[64, 32, 16])
        run(project, monkeypatch, "train")
        plain = numpy_head.load("models/head.h5")
        found.append(plain.probabilities(x)[:, 3].mean())
        kinds = [type(layer) for layer in keras_runtime.load_model(
            "models/head.h5").layers]
        assert kinds.count(keras.layers.Dense) == 4
    assert found[1] > 1.2 * found[0]


def model():
    """Return a small backbone with branches."""
    keras_runtime.reset(0)
    return backbone.build(params.Backbone(
        application="MobileNetV2", options={"alpha": 0.35}, pooling="avg",
        cut="top", weights=os.path.join(
            ROOT, "models", "weights", "random.yaml")), 32)


def test_valid_cuts_are_those_that_keras_can_divide():
    """A layer is a valid cut if and only if Keras can divide there."""
    whole = model()
    good = [layer.name for layer in cuts.valid(whole)]
    for layer in whole.layers[1::4]:
        try:
            keras.Model(layer.output, whole.output)
            divides = True
        except ValueError:
            divides = False
        assert (layer.name in good) == divides, layer.name


def test_cut_by_name_index_and_count():
    """All three find the same layer; an error names the nearest cuts."""
    whole = model()
    names = [layer.name for layer in whole.layers]
    index = names.index("block_2_add")
    assert cuts.resolve(whole, "top") == "top"
    assert cuts.resolve(whole, len(names) - 1) == "top"
    for cut in ("block_2_add", index, f"first {index + 1}"):
        assert cuts.resolve(whole, cut) == "block_2_add"
    with pytest.raises(errors.CutError, match=r"block_2_expand "
                       r"\(block_2_expand\) is not a valid cut: more than "
                       "one tensor .* nearest are "
                       "block_1_project_BN and block_2_add"):
        cuts.resolve(whole, "block_2_expand")
    for unknown in ("nowhere", "first \u00b2"):
        with pytest.raises(errors.CutError, match=f"unknown layer '{unknown}'"
                           "; write top, "):
            cuts.resolve(whole, unknown)
    with pytest.raises(errors.CutError, match=r"9999 \(no layer\) is "
                       "not a valid cut"):
        cuts.resolve(whole, 9999)


def test_cut_table(project):
    """The table's sizes are those of the arrays that extract writes."""
    done = project.run("python -m commands.list_cuts")
    assert done.returncode == 0, done.stdout
    assert re.search(rf"{CUT} +4x4x64 +4.1 kB +1.23 MB", done.stdout)


def alexnet_state(random):
    """Return a state dict in torchvision's names and shapes."""
    state = {}
    for number, shape in [(0, (64, 3, 11, 11)), (3, (192, 64, 5, 5)),
                          (6, (384, 192, 3, 3)), (8, (256, 384, 3, 3)),
                          (10, (256, 256, 3, 3))]:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"features.{number}.weight"] = random.normal(
            0, scale, shape).astype("float32")
        state[f"features.{number}.bias"] = random.normal(
            0, 0.1, shape[0]).astype("float32")
    state["classifier.6.bias"] = np.zeros(1000, "float32")    # not used
    return state


def alexnet(state, image):
    """Return AlexNet's pooled features of one image (h, w, 3), in float64.

    Written from the definition of a convolution, with NumPy alone.
    """
    def windows(x, kernel, step):
        """Return the views (h, w, c, kernel, kernel)."""
        return np.lib.stride_tricks.sliding_window_view(
            x, (kernel, kernel), (0, 1))[::step, ::step]

    x = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for number, step, padding in [(0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1),
                                  (10, 1, 1)]:
        kernel = state[f"features.{number}.weight"].astype("float64")
        x = np.pad(x, [(padding, padding)] * 2 + [(0, 0)])
        x = np.einsum("hwckl,ockl->hwo", windows(x, kernel.shape[2], step),
                      kernel, optimize=True)
        x = np.maximum(x + state[f"features.{number}.bias"], 0)
        if number in (0, 3, 10):
            x = windows(x, 3, 2).max(axis=(3, 4))
    return x.mean(axis=(0, 1))


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_alexnet(tmp_path, kind):
    """Weights by torchvision's names give torchvision's network."""
    random = np.random.default_rng(0)
    state = alexnet_state(random)
    source = str(tmp_path / f"state.{kind}")
    if kind == "npz":
        np.savez(source, **state)
    else:
        from safetensors.numpy import save_file
        save_file(state, source)
    target = str(tmp_path / "alexnet.h5")
    subprocess.run([sys.executable, "-m", "commands.convert_alexnet", source,
                    target], cwd=ROOT, check=True)
    keras_runtime.reset(0)
    given = params.Backbone(application="AlexNet", options={}, cut="top",
                            pooling="avg", weights=target)
    extractor = backbone.extractor(backbone.build(given, 96), "AlexNet")
    image = random.integers(0, 256, (96, 96, 3)).astype("float32")
    found = extractor.predict(image[None], verbose=0)[0]
    expected = alexnet(state, image)
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()


def test_alexnet_refuses_other_states(tmp_path):
    """An array that is missing, or has another shape, is named."""
    state = alexnet_state(np.random.default_rng(0))
    with pytest.raises(errors.WeightsError, match="features.8.bias is not in"):
        convert_alexnet.convert(
            {name: value for name, value in state.items()
             if name != "features.8.bias"}, str(tmp_path / "a.h5"))
    state["features.0.weight"] = state["features.0.weight"][:, :1]
    with pytest.raises(errors.WeightsError, match=r"features.0.weight: shape "
                       r"\(11, 11, 1, 64\), AlexNet's is \(11, 11, 3, 64\)"):
        convert_alexnet.convert(state, str(tmp_path / "a.h5"))
    assert not os.listdir(tmp_path)
