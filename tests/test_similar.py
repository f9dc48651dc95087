#!/usr/bin/env python3
"""Search by example: an image finds itself, and its true neighbours."""
import fcntl
import json
import os
import re

import numpy as np
import pytest
from conftest import stage
from PIL import Image
from test_inspect import array, change, clusters

from stages.lib.common import files
from stages.lib.inspection import cached_features, metric

SIMILAR = "commands.find_similar"


def similar(project, monkeypatch, capsys, *words):
    """Return what the command prints as JSON."""
    capsys.readouterr()
    assert stage(project, monkeypatch, SIMILAR, "--json", *words) is None
    return json.loads(capsys.readouterr().out)


def test_finds_itself(finished, monkeypatch, capsys, tmp_path):
    """A cached image is at distance 0, as a file; a row leaves itself out."""
    sheet, path = f"{tmp_path}/sheet.png", f"{tmp_path}/one.png"
    pixels = array(finished, "data/prepared/train_x")[17]
    Image.fromarray(pixels).save(path)
    monkeypatch.setattr(cached_features, "BLOCK", 50_000)    # many blocks
    one, row = similar(finished, monkeypatch, capsys, path, "train:17",
                       "--top", "20", "--sheet", sheet)
    assert one["example"] == path and row["example"] == "train:17"
    first, *others = one["similar"]
    assert first["row"] == "train:17" and abs(first["distance"]) < 1e-5
    assert first["image"].startswith("x_train[") and len(others) == 19
    assert [near["row"] for near in others] == [
        near["row"] for near in row["similar"]][:19]
    cached = cached_features.load()
    points = metric.space(cached.vectors, cached.in_split("train")).points
    distance = 1 - points @ points[17]
    assert [near["distance"] for near in one["similar"]] == pytest.approx(
        np.sort(distance)[:20], abs=1e-5)
    for near in others:
        split, k = near["row"].split(":")
        where = np.argmax(cached.in_split(split)) + int(k)
        assert near["distance"] == pytest.approx(distance[where], abs=1e-5)
        assert near["class"] == str(cached.labels[where])
    picture = Image.open(sheet)
    assert picture.width > 900 and picture.height > 800    # 2 x 3 lines
    digest = files.digest(sheet, "sha256")
    assert stage(finished, monkeypatch, SIMILAR, path, "train:17", "--top",
                 "20", "--sheet", sheet) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (f"{path}\t0.0000\ttrain:17\t{first['class']}\t"
                        f"{first['image']}")
    assert len(lines) == 40 and files.digest(sheet, "sha256") == digest


def test_other_size(finished, monkeypatch, capsys, tmp_path):
    """A photograph of another size is scaled to the arrays' images first."""
    pixels = array(finished, "data/prepared/test_x")[3].repeat(4, 0)
    label = str(array(finished, "data/prepared/test_y")[3])
    Image.fromarray(pixels.repeat(4, 1)).save(f"{tmp_path}/large.png")
    one, = similar(finished, monkeypatch, capsys, f"{tmp_path}/large.png",
                   "--sheet", f"{tmp_path}/sheet.png", "--top", "1")
    assert one["similar"][0]["class"] == label


def test_waiting_is_no_result(finished, monkeypatch, capsys):
    """While extract runs, the command waits; its JSON stays JSON."""
    path = finished.file("logs/locks/extract")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        capsys.readouterr()
        real = fcntl.flock

        def lock(file, how):
            """Release the lock when somebody has found it taken."""
            try:
                real(file, how)
            except BlockingIOError:
                real(held, fcntl.LOCK_UN)
                raise

        monkeypatch.setattr(fcntl, "flock", lock)
        assert stage(finished, monkeypatch, SIMILAR, "--json",
                     "train:17") is None
    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["similar"]
    assert "extract: waiting for another extract to end" in printed.err


@pytest.mark.parametrize("words, pattern", [
    (["train:180"], "train:180: train has the rows 0 to 179"),
    (["train:-1"], "train:-1: no such file.*; write an image file, or a row "),
    (["README.md"], "README.md: not an image .*; write an image file, or "),
    (["tests"], "tests: not a regular file; write")])
def test_bad_example(finished, monkeypatch, tmp_path, words, pattern):
    """An example that is no image and no row is one line; no sheet."""
    sheet = tmp_path / "sheet.png"
    error = stage(finished, monkeypatch, SIMILAR, *words, "--sheet",
                  str(sheet))
    assert re.match(f"find_similar: {pattern}", error), error
    assert "\n" not in error and not sheet.exists()


def test_bad_features(project, monkeypatch, capsys, tmp_path):
    """Features that are stale, damaged, not finite or missing: one line."""
    Image.new("RGB", (16, 16)).save(f"{tmp_path}/one.png")
    project.set(resize__side=64)
    error = stage(project, monkeypatch, SIMILAR, f"{tmp_path}/one.png")
    assert re.match("find_similar: features: computed with side 32, expected "
                    "is 64; run", error), error
    _, x = clusters(project)
    x["train_x"][7, 3] = np.nan
    change(project, monkeypatch, **x)
    assert stage(project, monkeypatch, SIMILAR, "train:7") == (
        "find_similar: train:7: its features are not finite; run "
        "`make inspect`")
    one, = similar(project, monkeypatch, capsys, "train:8", "--top", "1000")
    assert len(one["similar"]) == 298    # not itself, not row 7
    with open("features/test_x.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert "features/test_x.npy: its SHA-256 differs" in stage(
        project, monkeypatch, SIMILAR, "train:8")
    capsys.readouterr()
    assert stage(project, monkeypatch, SIMILAR, "train:8", "--top", "0") == 2
    assert capsys.readouterr().err == (
        "find_similar: --top must be 1 to 1000; see --help\n")
