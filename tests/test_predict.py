#!/usr/bin/env python3
"""`python -m commands.predict_images` with a fused model alone."""
import io
import json
import os
import runpy
import sys
import types

import numpy as np
import pytest
from conftest import tiny_arrays
from pictures import bad, noise, put, saved

from stages.lib.common import keras_runtime
from stages.lib.training import head


@pytest.fixture
def predict(monkeypatch, tmp_path, capsys, finished):
    """Return a function that predicts from an empty folder."""
    monkeypatch.chdir(tmp_path)
    model = finished.file("cifar10.h5")

    def run(*words, model=model, given=b""):
        """Return the status, standard output and standard error."""
        monkeypatch.setattr(sys, "argv", ["predict_images", model, *words])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(
            buffer=io.BytesIO(given)))
        with pytest.raises(SystemExit) as end:
            runpy.run_module("commands.predict_images", run_name="__main__")
        return (end.value.code, *capsys.readouterr())

    return run


def test_same_as_the_pipeline(predict, finished, tmp_path):
    """Folders, files and standard input get the pipeline's own scores."""
    x = np.load(finished.file("features/test_x.npy"))[:6]
    p = head.probabilities(keras_runtime.load_model(
        finished.file("models/head.h5")), x)
    images = [saved(image, "PNG") for image in tiny_arrays()["x_test"][:6]]
    for k, image in enumerate(images[:5]):
        put(str(tmp_path / f"folder/{k % 2}/{k}.png"), image)
    put(str(tmp_path / "folder/.hidden.png"), b"")
    status, output, errors = predict("folder", "-", "--json", "--top", "3",
                                     given=images[5])
    output = json.loads(output)
    assert (status, errors) == (0, "")
    order = [0, 2, 4, 1, 3]
    assert [one["file"] for one in output] == [
        f"folder/{k % 2}/{k}.png" for k in order] + ["-"]
    for one, k in zip(output, order + [5]):
        assert len(one["top"]) == 3
        assert (one["class"], one["probability"]) == tuple(
            one["top"][0].values())
        for rank, best in enumerate(np.argsort(-p[k])[:3]):
            assert one["top"][rank]["class"] == str(best)
            assert one["top"][rank]["probability"] == pytest.approx(
                p[k, best], abs=1e-4)
    name = os.fsdecode(b"\xff.png")    # not UTF-8
    put(str(tmp_path / name), images[0])
    assert predict(name)[1].startswith("\\udcff.png\t")
    status, table, _ = predict("folder/0/0.png")
    assert table == (f"folder/0/0.png\t{output[0]['class']}\t"
                     f"{output[0]['probability']:.4f}\n")


def test_bad_files_are_reported(predict, tmp_path):
    """A file that is not an image gets a line; the others are predicted."""
    for name, (data, _) in bad().items():
        put(str(tmp_path / "bad" / name), data)
    put(str(tmp_path / "bad/large.jpg"), saved(noise(90, 50), "JPEG"))
    status, output, errors = predict("bad", "nowhere.png")
    assert status == 1
    assert output.startswith("bad/large.jpg\t") and output.count("\n") == 1
    expected = [f"predict_images: bad/{name}: {reason}"
                for name, (_, reason) in sorted(bad().items())]
    assert errors.splitlines() == expected + [
        "predict_images: nowhere.png: no such file, or a broken link"]


@pytest.mark.parametrize("words, model, line", [
    ((), "cifar10.h5", "the following arguments are required: IMAGE"),
    (("a.png", "--top", "0"), "cifar10.h5", "--top must be 1 or more"),
    (("a.png",), "nowhere.h5", "nowhere.h5: no model can be read from it"),
    (("a.png",), "models/head.h5", "models/head.h5: not a fused model"),
])
def test_usage(predict, finished, words, model, line):
    """An invalid command or model is one line, and status 2."""
    status, output, errors = predict(*words, model=finished.file(model))
    assert (status, output) == (2, "")
    assert line in errors.splitlines()[-1]
