#!/usr/bin/env python3
"""The study: points, shared caches, failures, kills, derived data."""
import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, Project, clone, environment, images
from kill_extract import processes

from stages.lib.common import errors, files
from study import points, sources, table

SCORES = ("train_images", "validation", "validation_low", "test", "test_high",
          "temperature", "calibration_error", "disk_bytes")
COMMAND = [sys.executable, "-m", "study", "--file", "tests/tiny_study.yaml",
           "--table", "build/tiny.csv"]


def read(path):
    """Return the rows of a table, dictionaries of texts."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def start(project, stage):
    """Start the study in `project`; return it once `stage` runs."""
    study = subprocess.Popen(
        COMMAND, cwd=project.path, start_new_session=True, text=True,
        env={**environment(), "DATA": project.path}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    inner = Project(project.file("build/study"))
    end = time.monotonic() + 300
    while not processes(inner, stage):
        if study.poll() is not None or time.monotonic() > end:
            os.killpg(study.pid, signal.SIGKILL)
            pytest.fail(f"{stage} did not run: {study.stdout.read()}")
        time.sleep(0.1)
    return study


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.slow
def test_study(tmp_path):
    """Killed in two ways, it goes on; cache, equal points and failures."""
    project = clone(tmp_path / "project")
    for stage, whole in [("extract", True), ("train", False)]:
        study = start(project, stage)
        if whole:    # DVC and the stage, too
            os.killpg(study.pid, signal.SIGKILL)
        else:    # DVC goes on without the runner
            study.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            study.communicate(timeout=0.1)
    done = subprocess.run(COMMAND, cwd=project.path, check=False, text=True,
                          env={**environment(), "DATA": project.path},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    rows = read(project.file("build/tiny.csv"))
    assert [(row["question"], row["point"], row["seed"]) for row in rows] == [
        (one.question, one.name, str(one.seed)) for one in points.points(
            points.read(os.path.join(ROOT, "tests/tiny_study.yaml")))]
    first, other, same, again, small, missing = rows
    assert same["experiment"] == first["experiment"] != ""
    assert all(again[name] == first[name] for name in SCORES)
    assert first["test"] != other["test"]
    assert [row["rows_computed"] for row in (other, again)] == ["0", "0"]
    assert int(first["attempts"]) >= 2 and float(again["train_seconds"]) > 0
    for row in (first, other, again):
        assert (float(row["test_low"]) < float(row["test"])
                < float(row["test_high"]))
        assert int(row["disk_bytes"]) > 1292 * 128 * 4
        assert re.fullmatch("[0-9a-f]{8}", row["revision"])
    right = {one["experiment"]: f"{int(one['right'], 16):b}"[1:]
             for one in read(project.file("build/right.csv"))}
    for row in (first, other, again):
        bits = right.pop(row["experiment"])
        assert float(row["test"]) == pytest.approx(
            bits.count("1") / len(bits), abs=1e-6)
    assert not right
    assert small["test"] == "" and "resize.side" in small["failure"]
    assert missing["failure"] == "DATA/none.npz: no such file in DATA"
    with open(project.file("build/tiny.csv"), encoding="utf-8") as file:
        assert str(tmp_path) not in file.read()
    assert not project.run("git status --short").stdout
    before = files.digest(project.file("build/tiny.csv"), "md5")
    shutil.rmtree(project.file("build/study"))    # on another machine
    done = subprocess.run([*COMMAND, "--table-only"], cwd=project.path,
                          check=False, env=environment())
    assert done.returncode == 0
    assert files.digest(project.file("build/tiny.csv"), "md5") == before


def test_rows_of_other_machines(tmp_path):
    """A point that succeeded elsewhere stays; one that failed may run here."""
    path = str(tmp_path / "results.csv")
    every = [points.Point("q", name, 0, {"train.seed": k})
             for k, name in enumerate("abc")]

    def clone(*failed):
        """Return a clone in which these points failed, and no others ran."""
        return SimpleNamespace(
            experiments=dict, show=dict, timings=list, journal=lambda: [
                {"point": one.experiment, "event": "failed", "reason": "here"}
                for one in failed])

    table.write(path, every, clone(*every[:2]))
    rows = read(path)
    assert [row["failure"] for row in rows] == ["here", "here"]
    rows[0].update(experiment="e", failure="")
    files.write_csv(path, table.COLUMNS, [row.values() for row in rows])
    table.write(path, every, clone(every[0], every[2]))
    assert [(row["point"], row["experiment"], row["failure"])
            for row in read(path)] == [("a", "e", ""), ("b", "", "here"),
                                       ("c", "", "here")]


def test_derived_sources(tmp_path, monkeypatch):
    """Draws are of each class, wrong labels as many as asked, redrawn."""
    shutil.copytree("study", tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    x, y = images(0, 30)
    np.savez("all.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    known = {
        "few": points.Source(of="DATA/all.npz", per_class=20, redraw=True),
        "noisy": points.Source(of="few", wrong_labels=0.1)}
    first, again, other = (sources.make("few", known, seed, None)
                           for seed in (0, 0, 1))
    assert first == again != other
    few, redrawn = np.load(first), np.load(other)
    assert np.bincount(few["y_train"]).tolist() == [20] * 10
    assert (few["x_train"] != redrawn["x_train"]).any()
    noisy = np.load(sources.make("noisy", known, 0, None))
    assert (noisy["y_train"] != few["y_train"]).sum() == 20
    assert (noisy["x_train"] == few["x_train"]).all()
    assert (noisy["y_test"] == y[:9]).all()


@pytest.mark.parametrize("text, line", [
    ("sources: {}", "questions.a.points.b: no data.source; name it here"),
    ("settings: {data.source: x}\nsources: {x: {of: y}, y: {of: x}}",
     "sources.x: leads back to x; name an .npz file")])
def test_bad_studies(tmp_path, text, line):
    """A point without data, and a source that is made of itself."""
    path = tmp_path / "study.yaml"
    path.write_text(
        f"{text}\nquestions: {{a: {{asks: What, points: {{b: {{}}}}}}}}\n")
    with pytest.raises(errors.ParameterError, match=f"study.yaml: {line}"):
        points.read(str(path))


def test_bad_origin(tmp_path, monkeypatch):
    """A source that is made of a file without arrays names the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "origin.npz").write_bytes(b"no arrays")
    with pytest.raises(errors.SourceError, match="origin.npz: no x_train and"):
        sources.make("few", {"few": points.Source(of="origin.npz")}, 0, "")


def test_study_is_valid():
    """The real study has at least 60 points, with valid names of keys.

    Its table names no path of a machine.
    """
    assert not [row for row in read("study/results.csv")
                if os.path.isabs(row["application"])]
    study = points.read("study/study.yaml")
    every = points.points(study)
    assert len({one.digest for one in every}) >= 60
    assert all(re.fullmatch(r"~?(\w+\.)+\w+", key)
               for one in every for key in one.settings)
