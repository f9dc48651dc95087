#!/usr/bin/env python3
"""Carved splits: no leaks, and an image stays where it is after edits."""
import csv
import json
import os

import numpy as np
import pytest
from conftest import stage
from test_folder import read

from stages.lib.common import errors, seals
from stages.lib.sources import carving

SHARES = [{"test": 0.1, "validation": 0.1}, {"validation": 0.1},
          {"test": 0.3, "validation": 0.5}]


def draw(random):
    """Return labels and digests of random images, with copies."""
    classes = random.integers(2, 6)
    pictures = random.integers(0, 256, (classes * random.integers(4, 40), 16),
                               np.uint8)
    own = np.arange(len(pictures)) % classes
    copies = random.integers(0, len(pictures), random.integers(60))
    chosen = random.permutation(np.concatenate(
        [np.arange(len(pictures)), copies]))
    labels = own[chosen]
    wrong = random.random(len(labels)) < 0.02    # contradicting labels
    return np.where(wrong, (labels + 1) % classes, labels), pictures[chosen]


def place(labels, pixels, fractions, seed=3):
    """Return picture -> split, after a check that no picture is in two."""
    found = {}
    carved = carving.carve(labels, pixels, fractions, seed)
    assert sorted(np.concatenate(list(carved.values()))) == list(
        range(len(labels)))
    for split, rows in carved.items():
        for row in rows:
            assert found.setdefault(pixels[row].tobytes(), split) == split
    return found


def contradicted(labels, pixels):
    """Return the pictures that have more than one label."""
    seen, found = {}, set()
    for label, picture in zip(labels, map(bytes, pixels)):
        if seen.setdefault(picture, label) != label:
            found.add(picture)
    return found


@pytest.mark.parametrize("fractions", SHARES)
def test_no_leaks_and_exact_shares(fractions):
    """Equal pictures are in one split; each class has its share."""
    random = np.random.default_rng(0)
    for _ in range(350):
        labels, pixels = draw(random)
        split = place(labels, pixels, fractions)
        wrong = contradicted(labels, pixels)
        assert all(split[picture] == "train" for picture in wrong)
        for label in np.unique(labels):
            mine = {bytes(one) for one in pixels[labels == label]} - wrong
            count = len(mine)
            for name, fraction in fractions.items():
                found = sum(split[picture] == name for picture in mine)
                if len(mine) > 4:
                    assert found == max(1, int(count * fraction + 0.5))
                count -= found


@pytest.mark.parametrize("fractions", SHARES)
def test_edits_move_few_images(fractions):
    """Order and copies do not matter; an edit moves at most 2 others.

    Random edits: an image is deleted, added, or its bytes change, which is
    both.
    """
    random = np.random.default_rng(1)
    for _ in range(200):
        labels, pixels = draw(random)
        before = place(labels, pixels, fractions)
        order = random.permutation(len(labels))
        assert place(labels[order], pixels[order], fractions) == before
        row = random.integers(len(labels))
        changed = pixels.copy()
        changed[row] = random.integers(0, 256, 16)
        edits = 2 * (1 + len(contradicted(labels, pixels) ^ contradicted(
            labels, changed)))
        after = place(labels, changed, fractions)
        moved = [picture for picture in before.keys() & after.keys()
                 if before[picture] != after[picture]]
        assert len(moved) <= 2 * edits
        copies = np.append(np.arange(len(labels)), row)
        assert place(labels[copies], pixels[copies], fractions) == before


def test_seed_and_smallest_classes():
    """Another seed is another split; each split gets an image if it can."""
    random = np.random.default_rng(2)
    labels, pixels = np.repeat([0, 1], 50), random.integers(
        0, 256, (100, 16), np.uint8)
    assert place(labels, pixels, SHARES[0]) != place(labels, pixels,
                                                     SHARES[0], 4)
    assert carving.shares(3, SHARES[0]) == [1, 1]
    assert carving.shares(2, SHARES[0]) == [0, 1]
    carving.check_counts(labels[48:], pixels[48:], {"test": 0.1}, "ab")
    with pytest.raises(errors.SourceError, match=r"class 0 \(a\): 2 differe"):
        carving.check_counts(labels[48:], pixels[48:], SHARES[0], "ab")
    pixels[48:50] = pixels[60]
    with pytest.raises(errors.SourceError, match=r"class 0 \(a\): 0 differe"):
        carving.check_counts(labels[48:], pixels[48:], {"test": 0.1}, "ab")


def test_scores_without_leaks(project, monkeypatch, capsys):
    """Test images that are in train, too, are left out of a second score."""
    path = project.file("data/prepared/dataset.json")
    described = read(project, "data/prepared/dataset.json")
    labels = np.load(project.file("data/prepared/test_y.npy"))
    right = [row["actual"] == row["predicted"] for row in csv.DictReader(
        open(project.file("results/confusion.csv"), encoding="utf-8"))]
    described["leaked_rows"]["test"] = [2, 5, 7]
    os.unlink(path)    # never write in place: it may be a hard link
    with open(path, "w", encoding="utf-8") as file:
        json.dump(described, file)
    monkeypatch.chdir(project.path)
    seals.write("stages/prepare.py")
    assert stage(project, monkeypatch, "evaluate") is None
    metrics = read(project, "results/metrics.json")
    kept = np.delete(right, [2, 5, 7])
    assert metrics["test"]["accuracy"] == np.mean(right)
    assert metrics["test_without_leaks"]["images"] == len(labels) - 3
    assert metrics["test_without_leaks"]["accuracy"] == kept.mean()
    assert "without the 3 images that are in train" in capsys.readouterr().out
