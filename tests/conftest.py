#!/usr/bin/env python3
"""A tiny project for the tests: real stages, synthetic images, fixed weights.

Images are 16 x 16, one colour per class with noise; the backbone is MobileNet
at a quarter of its width, with weights drawn once so that features vary.
Slow parts are made once and shared by the workers of pytest-xdist.
"""
import fcntl
import json
import os
import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ruamel.yaml import YAML

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLASSES = 10
COLOURS = np.array([[r, g, b] for r in (40, 215) for g in (40, 215)
                    for b in (40, 215)] + [[128, 128, 128], [215, 128, 40]],
                   dtype="float32")
CHECKER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from tensorflow import keras as K
warnings.simplefilter("error")
import importlib.util
K.learning_phase = K.backend.learning_phase
spec = importlib.util.spec_from_file_location("transfer", "0-transfer.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import numpy as np
data = np.load(sys.argv[1])
X, Y = module.preprocess_data(data["x_test"], data["y_test"])
assert isinstance(X, np.ndarray) and isinstance(Y, np.ndarray)
assert X.dtype == "float32" and Y.shape == (len(X), 10)
model = K.models.load_model("cifar10.h5")
assert type(model.layers[1]).__name__ == "Lambda", model.layers[1]
print(json.dumps(model.evaluate(X, Y, batch_size=128, verbose=0)))
"""
STAGES = ["prepare", "resize", "extract", "train", "fuse", "evaluate",
          "export"]
# Each worker gets two of these at first: one makes `finished`, the others
# begin with tests that do not need it.
LONGEST = ["test_what_runs_again", "test_kill", "test_end_to_end",
           "test_tail"]


def pytest_configure():
    """Give every process one thread: arrays are tiny, xdist uses the cores."""
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1",
                      OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def pytest_collection_modifyitems(items):
    """Start the longest tests first, so that all workers end together."""
    items.sort(key=lambda item: LONGEST.index(item.name)
               if item.name in LONGEST else len(LONGEST))


class Project:
    """A clone of this project, working tree included, at `path`."""

    def __init__(self, path):
        """Remember `path`; nothing is read or written."""
        self.path = str(path)

    @property
    def folder(self):
        """Return the folder that contains the project."""
        return os.path.dirname(self.path)

    def file(self, name):
        """Return the absolute path of a file of the project."""
        return os.path.join(self.path, name)

    def run(self, command, **options):
        """Run a shell command in the project; return the finished process."""
        return subprocess.run(command, shell=True, cwd=self.path, text=True,
                              env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False,
                              **options)

    def repro(self):
        """Run `dvc repro`, which must succeed; return the stages that ran."""
        done = self.run("dvc repro")
        assert done.returncode == 0, done.stdout
        return re.findall(r"Running stage '(\w+)'", done.stdout)

    def set(self, path="params.yaml", **values):
        """Change parameters: `train__epochs=3` is train.epochs."""
        yaml = YAML()
        with open(self.file(path), encoding="utf-8") as file:
            params = yaml.load(file)
        for name, value in values.items():
            *groups, leaf = name.split("__")
            group = params
            for key in groups:
                group = group[key]
            group[leaf] = value
        with open(self.file(path), "w", encoding="utf-8") as file:
            yaml.dump(params, file)

    def md5(self):
        """Return path -> md5 of every out in dvc.lock."""
        with open(self.file("dvc.lock"), encoding="utf-8") as file:
            stages = YAML(typ="safe").load(file)["stages"]
        return {out["path"]: out["md5"] for stage in stages.values()
                for out in stage["outs"]}


def environment():
    """Return the environment with this interpreter's commands first.

    Without the arguments of the `make` that runs the tests, such as VENV: it
    would pass them on, and a `make` in a test would set up that folder.
    """
    binaries = os.path.dirname(sys.executable)
    return {**{name: value for name, value in os.environ.items()
               if not name.startswith(("MAKE", "MFLAGS")) and name not in (
               "VENV", "PYTHON")},
            "PATH": os.pathsep.join([binaries, os.environ["PATH"]])}


def clone(path):
    """Return a `Project` at `path`: this commit, and what changed since."""
    subprocess.run(["git", "clone", "--quiet", ROOT, str(path)], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
        text=True).stdout.split("\0")
    for name in filter(None, listed):
        source, target = os.path.join(ROOT, name), os.path.join(path, name)
        if os.path.exists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target)
        elif os.path.exists(target):
            os.unlink(target)
    project = Project(path)
    project.run("git config user.name test; git config user.email t@test; "
                "git add -A; git commit --quiet --allow-empty -m test")
    return project


def check(project, source):
    """Return loss and accuracy as the task's checker sees them."""
    done = subprocess.run([sys.executable, "-c", CHECKER, source],
                          cwd=project.path, env=environment(), text=True,
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def images(seed, per_class):
    """Return uint8 (n, 16, 16, 3) and uint8 (n,), shuffled."""
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat(np.arange(CLASSES), per_class))
    x = COLOURS[y][:, None, None] + random.normal(0, 10, (len(y), 16, 16, 3))
    return x.clip(0, 255).astype("uint8"), y.astype("uint8")


def tiny_arrays():
    """Return the arrays of the tiny data set: 200 and 100 images."""
    (x_train, y_train), (x_test, y_test) = images(0, 20), images(1, 10)
    return {"x_train": x_train, "y_train": y_train,
            "x_test": x_test, "y_test": y_test}


def tiny_weights(path):
    """Write weights for MobileNet, alpha 0.25, to `path`.

    Drawn as He et al. (2015) do, so that features vary over images.
    """
    from stages.lib.common.keras_runtime import keras
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if "Conv" in type(layer).__name__:
            shape = layer.get_weights()[0].shape
            deep = "Depthwise" in type(layer).__name__
            fan_in = np.prod(shape[:2] if deep else shape[:3])
            scale = np.sqrt((200 if layer.name == "conv_pw_13" else 2)
                            / fan_in)    # large features: few are dead
            layer.set_weights([random.normal(0, scale, shape)])
    model.save_weights(path)


def relist(split, images, classes=None):
    """Write the table of the images of a split, as of files.

    Args:
        split: its name; the project is the working folder.
        images: their names.
        classes: of each; by default, "0".
    """
    from stages.lib.common import arrays, image_table
    arrays.write_array(f"data/prepared/{split}_rows.npy", image_table.build(
        images, classes or ["0"] * len(images),
        {"sha256": 0, "size": 1, "jpeg": False}))


def stage(project, monkeypatch, name, *words):
    """Run a stage or command in this process; return its error line.

    Args:
        name: of a stage, or of a module such as "commands.list_cuts".
        words: its arguments.

    Returns:
        The argument of `sys.exit`: a line, or None for success.
    """
    module = name if "." in name else f"stages.{name}"
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", [module.split(".")[-1], *words])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    return None


def made_once(factory, name, make):
    """Return a `Project` that the first worker makes, for all workers.

    Args:
        factory: `tmp_path_factory`.
        name: of its folder.
        make: function of the path at which it makes the project.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path = shared / name / "project"
    with open(shared / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / f"{name}.made").exists():
            shutil.rmtree(path.parent, ignore_errors=True)    # it failed once
            make(path)
            (shared / f"{name}.made").touch()
    return Project(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a tiny project after `dvc repro`: read it, never change it.

    Its data set and weights are beside it: `tiny.npz`, `tiny.h5`.
    """
    def make(path):
        """Run the pipeline on the tiny data."""
        project = clone(path)
        np.savez(path.parent / "tiny.npz", **tiny_arrays())
        tiny_weights(path.parent / "tiny.h5")
        settle(project, project.folder)
        assert project.repro() == STAGES

    return made_once(tmp_path_factory, "finished", make)


def settle(project, folder):
    """Set the tiny data and weights in `folder` as parameters of `project`."""
    project.set(data__source=os.path.join(folder, "tiny.npz"),
                backbone__weights=os.path.join(folder, "tiny.h5"),
                backbone__options={"alpha": 0.25}, resize__side=32,
                extract__layers=["top"],
                train__input_dropout=0.0, train__label_smoothing=0.0,
                train__hidden=[32], train__dropout=0.2, train__batch_size=16,
                train__learning_rate=0.01, train__epochs=15,
                export__formats=[])    # TensorFlow need not start
    project.set("compare/params.yaml", convnet__epochs=3)
    project.run("git commit --quiet -am tiny")


@pytest.fixture
def project(finished, tmp_path):
    """Return a copy of the finished project that a test may change."""
    path = tmp_path / "project"
    shutil.copytree(finished.path, path, symlinks=True)
    return Project(path)
