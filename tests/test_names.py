#!/usr/bin/env python3
"""Names in every table, picture and locale; many classes; other Pythons."""
import ast
import csv
import glob
import os
import re
import shutil
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
from conftest import (
    ROOT, clone, environment, relist, stage, tiny_arrays)
from PIL import Image

from stages.lib.common import environment as python
from stages.lib.common import (
    files, image_table, keras_runtime, manifest, seals, text)
from stages.lib.common.keras_runtime import keras
from stages.lib.images import prepared
from stages.lib.results import confusion, lettering, matrix, mistakes

NAMES = ["a b", 'comma, "quote"', "$x$ ^2", "tab\there", "new\nline",
         "</script><script>document.title = 'run'</script>", "=1+1", "猫",
         "back\\slash", "x" * 300]
INSPECT = "commands.inspect_features"


def renamed(project, monkeypatch, names):
    """Give the classes of a finished project other names, everywhere."""
    monkeypatch.chdir(project.path)
    old = manifest.read()
    manifest.write(old["key"], names, old["arrays"])
    files.write_json("data/prepared/dataset.json",
                     {"class_names": names, "leaked_rows": {}})
    for split in files.SPLITS:
        rows = list(prepared.rows(split))
        classes = [names[int(row["class"])] for row in rows]
        relist(split, [f"{name}/{row['image']}"
                       for name, row in zip(classes, rows)], classes)
    seals.write("stages/prepare.py")


def table(path, **options):
    """Return the rows of a CSV or TSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, **options))


@pytest.mark.parametrize("name, shown", [
    ("tab\there", r"tab\there"), ("new\r\nline", r"new\r\nline"),
    ("back\\slash", r"back\\slash"), ("\u2028\x85\0", r"\u2028\x85\x00"),
    ("\udce9", r"\udce9"), ("猫 é 👩\u200d🚀", "猫 é 👩\u200d🚀")])
def test_escaped(name, shown):
    """Tabs, line ends and halves of characters are escapes, letters stay."""
    assert text.escaped(name) == shown
    assert shown.encode("latin-1", "backslashreplace").decode(
        "unicode_escape") == name


def test_tables(project, monkeypatch, capsys):
    """CSV files give the names back; a row of a TSV file is one line."""
    renamed(project, monkeypatch, NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)    # of missing letters
        assert stage(project, monkeypatch, "evaluate") is None
    assert {row[0] for row in table("results/classes.csv")[1:]} == set(NAMES)
    pairs = table("results/confused.csv")
    assert len(pairs) > 1 and pairs[0] == confusion.PAIRS
    assert all(row[0] == f"{row[3]} / {row[4]}" and {*row[3:5]} < set(NAMES)
               for row in pairs[1:])
    images = [row["image"] for row in prepared.rows("test")]
    assert all(row[8] == images[int(row[7])] for row in pairs[1:])
    assert re.search("^evaluate: most often confused: .*; all in results/"
                     "confused.csv$", capsys.readouterr().out, re.M)
    labels = np.load("data/prepared/test_y.npy")
    assert [row[0] for row in table("results/confusion.csv")[1:]] == [
        NAMES[k] for k in labels]
    assert stage(project, monkeypatch, INSPECT, "--projector", "build/p",
                 "--plots", "--projection", "pca", "--false-suspects",
                 "1", "--top", "300") is None
    output = capsys.readouterr().out
    assert r"new\nline/x_" in output and r": tab\there, neigh" in output
    rows = table("results/inspect/projection/points.csv")
    assert {row[2] for row in rows[1:]} == set(NAMES)
    with open("build/p/metadata.tsv", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert len(rows) == 301 and {len(row) for row in rows} == {4}
    assert {row[0] for row in rows[1:]} == set(map(text.escaped, NAMES))


def test_locate(project, monkeypatch, capsys):
    """A match is one line; its image as printed or as it is finds it."""
    renamed(project, monkeypatch, NAMES)
    rows = list(prepared.rows("test"))
    row = next(k for k, one in enumerate(rows) if one["class"] == NAMES[4])
    lines = []
    for what in (f"test:{row}", rows[row]["image"],
                 text.escaped(rows[row]["image"])):
        assert stage(project, monkeypatch, "commands.locate_rows",
                     what) is None
        lines.append(capsys.readouterr().out)
    assert lines == [f"test:{row}\tnew\\nline/x_test[{row}]\tnew\\nline\t"
                     f"{'0' * 64}\n"] * 3


def test_letters():
    """Letters that no font has are escapes; long names keep both ends."""
    shown, families = lettering.fit(["\U000e0100", "a" * 30 + "b" * 30, "é"])
    assert shown == [r"\U000e0100", "aaaaaaaaaa…bbbbbbbbb", "é"]
    assert families[0] == lettering.DEFAULT


def test_many_classes_in_pictures(tmp_path):
    """The matrix shows the most confused of many classes, with all counts."""
    labels = np.arange(4200)
    predicted = labels.copy()
    predicted[[7, 4100]] = [4199, 99]
    names = [f"person {k}" for k in labels]

    def draw(name, labels, every):
        """Return the bytes of the picture."""
        matrix.draw(labels, predicted, np.array(every), names, tmp_path / name)
        return (tmp_path / name).read_bytes()

    every = [7, 4199, *range(8, 100), 4100]
    shown = confusion.most_confused(labels, predicted, 4200)
    assert len(shown) == confusion.SHOWN
    assert {7, 99, 4100, 4199} < set(shown)
    first = draw("a.png", labels, every)
    predicted[[7, 4100]] = [4198, 99]
    assert draw("b.png", labels, every) != first
    draw("b.png", labels, range(1000))    # a cell is several classes
    width, height = Image.open(tmp_path / "b.png").size
    assert width < 2100 and height < 3500
    rare = np.full(5, 4000)    # all right, no image of the first classes
    predicted = rare
    draw("b.png", rare, [0, 4000])


def test_many_classes_in_tables(tmp_path):
    """Pairs and classes stand worst first; DVC draws the most confused."""
    labels = np.repeat(np.arange(100), 4)
    p = np.full((400, 100), 1e-6)
    p[np.arange(400), labels] = 1
    for row, guess, surest in [(8, 70, 5), (9, 70, 50), (280, 2, 8),
                               (40, 11, 9)]:
        p[row, guess] = surest
    p /= p.sum(axis=1, keepdims=True)
    names = [f"n{k}" for k in range(100)]
    rows = confusion.pairs(labels, p, names, [f"x[{k}]" for k in range(400)])
    assert rows == [
        ["n2 / n70", 3, 3 / 8, "n2", "n70", 2, 1, 9, "x[9]"],
        ["n10 / n11", 1, 1 / 8, "n10", "n11", 1, 0, 40, "x[40]"]]
    assert confusion.lines(rows) == ["n2 and n70 (3)", "n10 and n11 (1)"]
    every = list(confusion.ordered(labels, p))
    assert sorted(every) == list(range(100))
    assert {abs(every.index(a) - every.index(b))
            for a, b in [(2, 70), (10, 11)]} == {1}
    guess = p.argmax(axis=1)
    rows = confusion.classes(labels, guess, every, [*names, "none"])
    assert [row[:5] for row in rows[:3]] == [
        ["n2", 0.5, 4, "n70", 2], ["n10", 0.75, 4, "n11", 1],
        ["n70", 0.75, 4, "n2", 1]]
    assert [names[every[row[5]]] for row in rows[:-1]] == [
        row[0] for row in rows[:-1]]
    assert rows[-1][0] == "none" and np.isnan(rows[-1][1])
    confusion.write(tmp_path / "a.csv", labels, guess, names)
    drawn = table(tmp_path / "a.csv")[1:]
    assert len(drawn) == 4 * confusion.SHOWN
    assert drawn.count(["n2", "n70"]) == 2


@pytest.mark.parametrize("margin, shown", [
    (0, "1 : 1"), (np.log(1.26), "1.3 : 1"), (np.log(147), "150 : 1"),
    (np.log(43210), "43,000 : 1"), (np.log(999_999), "1×10⁶ : 1"),
    (700, "1×10³⁰⁴ : 1")])
def test_odds(margin, shown):
    """Odds have two digits, or one and a power of ten if they are large."""
    assert mistakes.odds(margin) == shown


@pytest.mark.parametrize("count", [3, 4000, 4001, 9000])
def test_many_names_in_a_model(tmp_path, count):
    """Names of any number come back; few are one attribute as before."""
    path = str(tmp_path / "model.h5")
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))])
    names = [f"{k} é" * (k % 7 + 1) for k in range(count)]
    keras_runtime.save_model(model, path, class_names=names, resize_mode="pad")
    assert keras_runtime.class_names(path) == names
    assert keras_runtime.load_model(path).count_params() == 2
    with h5py.File(path, "r") as file:
        assert file.attrs["resize_mode"] == "pad"
        assert ("class_names" in file.attrs) == (count <= 4000)
    keras_runtime.save_model(model, path)
    assert keras_runtime.class_names(path) is None


def source(folder):
    """Write a folder of pictures whose classes have names of all kinds."""
    images = tiny_arrays()["x_test"]
    for number, name in enumerate(["猫", "new\nline", "é"]):
        os.makedirs(folder / name)
        for k in range(20):
            Image.fromarray(images[20 * number + k]).save(
                folder / name / f"ü{k}.png")


def test_other_encodings(project, tmp_path):
    """Names are the same in any locale; output is printed as escapes."""
    source(tmp_path / "photos")
    project.set(data__source=str(tmp_path / "photos"))
    settings = "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0"
    done = project.run(f"{settings} python -m stages.prepare")
    assert done.returncode == 0, done.stdout
    rows = list(image_table.read(
        project.file("data/prepared/train_rows.npy")))
    assert {row["class"] for row in rows} == {"猫", "new\nline", "é"}
    assert {row["image"].split("/")[1][0] for row in rows} == {"ü"}
    for encoding in (settings, "PYTHONIOENCODING=ascii"):
        done = project.run(
            f"{encoding} python -m commands.locate_rows 猫/ü7.png")
        assert done.returncode == 0, done.stdout
        assert r"\u732b/\xfc7.png" in done.stdout
    done = project.run(f"{settings} python -m commands.locate_rows 猫")
    assert done.stdout == (
        r"locate_rows: \u732b: no row matches; write a row as train:17, an "
        "image as printed by this command\n")


def other_python(*words, path=""):
    """Return the error lines of a Python whose packages are in `path`."""
    done = subprocess.run([sys.executable, "-S", *words], cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(path)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    return done.stderr.splitlines()


@pytest.mark.parametrize("words", [
    ["-m", "stages.prepare"], ["-m", "commands.inspect_features"],
    ["-m", "compare.convnet"], ["0-transfer.py"]])
def test_python_without_packages(words):
    """Another Python gets one line that names it and says what to do."""
    line, = other_python(*words)
    assert sys.executable in line
    assert re.search("no package dvc|No module named 'tensorflow'", line)
    assert "run `make setup` once, then `. .venv/bin/activate`" in line


def test_wrong_versions(monkeypatch, tmp_path):
    """Python 3.12 and TensorFlow 2.16 are refused, in any Python's syntax."""
    for name in ("dvc", "tensorflow", "tensorflow-2.16.1.dist-info"):
        os.makedirs(tmp_path / name)
        (tmp_path / name / "__init__.py").touch()
    line, = other_python("-m", "stages.prepare", path=tmp_path)
    assert "it has TensorFlow 2.16.1, needed is 2.15; run `make setup" in line
    python.check()    # this Python is right
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(SystemExit, match=r"\(Python 3.12\) cannot run this: "
                       "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11;"):
        python.check()
    for name in ("stages/__init__.py", "commands/__init__.py",
                 "0-transfer.py", "stages/lib/common/environment.py"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            ast.parse(file.read(), feature_version=(3, 8))


@pytest.mark.parametrize("name", sorted(
    path[len(ROOT) + 1:] for folder in ("stages", "commands", "compare")
    for path in glob.glob(f"{ROOT}/{folder}/[a-z]*.py")) + [
        f"benchmarks/{name}.py" for name in (
            "caching", "calibration", "carving", "heads", "label_errors",
            "page", "parity", "run", "start_up")])
def test_run_as_a_file(name):
    """What can be run as a file says so if this Python is wrong."""
    line, = other_python(name)
    assert "cannot run this: it has no package dvc; run `make setup`" in line


def test_run_as_a_file_from_any_folder(finished, tmp_path):
    """A command finds its project: that of its file."""
    done = subprocess.run(
        [finished.file("commands/locate_rows.py"), "train:3"], cwd=tmp_path,
        env=environment(), check=True, text=True, capture_output=True)
    assert done.stdout.startswith("train:3\tx_train[")


def test_no_git(tmp_path):
    """Without .git, script and tests say what to do; the demo needs none."""
    project = clone(tmp_path / "project")
    shutil.rmtree(project.file(".git"))
    done = project.run("python 0-transfer.py")
    assert done.stdout.splitlines()[-1] == (
        "0-transfer.py: the pipeline failed, see above; no new cifar10.h5 is "
        f"written; DVC needs a git repository: git init {project.path}")
    done = project.run("make history --no-print-directory")
    assert done.stdout.splitlines()[0] == (
        "the tests need git history; run once: git init && git add --all && "
        "git commit --message start")
    os.makedirs(tmp_path / "bin")
    fake = tmp_path / "bin" / "dvc"    # the real demo takes a minute
    fake.write_text("#!/bin/sh\ntouch cifar10.h5\n", encoding="utf-8")
    fake.chmod(0o755)
    done = subprocess.run(
        ["make", "-o", ".venv/complete", f"BIN={fake.parent}", "demo"],
        cwd=project.path, env=environment(), check=False, text=True,
        capture_output=True)
    assert done.returncode == 0, done
    for name in ("stages/prepare.py", ".dvc/config", "params.yaml"):
        assert os.path.exists(project.file(f"build/demo/{name}")), name
    listed = project.run("git -C build/demo log --format=%s").stdout
    assert listed == "demo\n"
