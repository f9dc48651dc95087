#!/usr/bin/env python3
"""The engines: the same bytes for any order, batch and number of workers."""
import importlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import parts
import pytest
from conftest import ROOT, stage
from test_cache import contents, extract

from stages.lib.backbone import backbone
from stages.lib.cache import probe
from stages.lib.common import environment, errors, keras_runtime
from stages.lib.common.keras_runtime import keras, tf
from stages.lib.engines import engine, openvino_engine, tensorflow_engine
from stages.lib.images import rescaling
from stages.lib.params import params

ENGINES = ["tflite", "tensorflow", pytest.param(
    "openvino", marks=pytest.mark.skipif(
        not environment.has("openvino"),
        reason="the extra openvino is not installed"))]
openvino = pytest.mark.skipif(not environment.has("openvino"),
                              reason="the extra openvino is not installed")


@pytest.fixture(scope="module", name="frozen")
def fixture_frozen():
    """Return a small MobileNet whose features vary, and 70 images for it."""
    keras_runtime.reset(0)
    given = params.Backbone(application="MobileNet", options={"alpha": 0.25},
                            pooling="avg", cut="top", weights=parts.RANDOM)
    base = backbone.build(given, 32)
    parts.lively(base)
    images = np.random.default_rng(0).integers(0, 256, (70, 12, 12, 3))
    pixels = rescaling.rescale(images.astype("uint8"), 32).numpy()
    return (backbone.extractor(base, given.application),
            pixels.astype("uint8"))


def by_threads(loaded, images, chunk):
    """Return the features of `images` as `extract` computes them."""
    with ThreadPoolExecutor(loaded.workers) as pool:
        return np.concatenate(list(pool.map(
            lambda k: loaded.compute(images[k:k + chunk]),
            range(0, len(images), chunk))))


@pytest.mark.parametrize("name", ENGINES)
def test_same_bytes(frozen, monkeypatch, name):
    """Features depend on their own image only, and are those of Keras."""
    model, images = frozen
    loaded = engine.load(name, model, None)
    expected = by_threads(loaded, images, loaded.chunk)
    keras_own = model.predict(images.astype("float32"), verbose=0)
    assert parts.relative(expected, keras_own) <= parts.ALLOWED
    order = np.random.default_rng(1).permutation(len(images))
    for chunk in (1, 5, 70):
        found = by_threads(loaded, images[order], chunk)
        # On some processors, the place in a step of 64 changes last bits.
        assert np.array_equal(found, expected[order]) or (
            name == "tensorflow"
            and parts.relative(found, expected[order]) < 1e-6)
    for cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity",
                            lambda _, cores=cores: set(range(cores)))
        other = engine.load(name, model, None)
        assert np.array_equal(by_threads(other, images, 3), expected)


@openvino
def test_openvino_of_the_pipeline(project, monkeypatch, capsys):
    """Its rows resume, its version is in the key, `fuse` accepts it."""
    project.set(extract__engine="openvino")
    assert extract(project, monkeypatch, capsys)[1] == "engine changed"
    before = contents(project)
    assert len([name for _, _, names in os.walk(project.file(
        "features/scratch")) for name in names if name.endswith(".pb")]) == 1
    for name in ("train", "fuse", "evaluate"):
        assert stage(project, monkeypatch, name) is None, name
    project.set(extract__engine="tflite")
    extract(project, monkeypatch, capsys)
    assert contents(project) != before
    project.set(extract__engine="openvino")
    extract(project, monkeypatch, capsys)
    assert contents(project) == before


@openvino
def test_openvino_keeps_its_graph(frozen, tmp_path, capsys):
    """The converted graph is kept; a damaged one is converted again."""
    model, images = frozen
    first = engine.load("openvino", model, str(tmp_path)).compute(images)
    kept, = tmp_path.iterdir()
    assert "converting the backbone for OpenVINO" in capsys.readouterr().out
    engine.load("openvino", model, str(tmp_path))
    assert not capsys.readouterr().out
    kept.write_bytes(kept.read_bytes()[:-1])
    again = engine.load("openvino", model, str(tmp_path)).compute(images)
    assert "damaged, converted again" in capsys.readouterr().out
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name, message", [
    ("tflite", "extract.engine: TensorFlow Lite cannot convert .*set "
     "extract.engine to tenso"),
    pytest.param("openvino", "extract.engine: OpenVINO cannot convert .*set "
                 "extract.engine to tflite or", marks=openvino)])
def test_what_an_engine_cannot_take(name, message):
    """The error names the other engines."""
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, tf.linalg.svd(images, compute_uv=False))
    with pytest.raises(errors.EngineError, match=message):
        engine.load(name, model, None)


def test_openvino_missing(project, monkeypatch):
    """Without it, the first stage ends with a line that names the extra."""
    monkeypatch.setattr(environment, "has", lambda _: False)
    project.set(extract__engine="openvino")
    line = stage(project, monkeypatch, "prepare")
    assert line.startswith("prepare: params.yaml: extract.engine: ")
    assert "\n" not in line and "install the extra openvino: python -m" in line
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        assert f'"{re.search("openvino==[0-9.]+", line)[0]}"' in file.read()


def test_keys(monkeypatch):
    """The key has OpenVINO's version, and a digest of code, of its own."""
    monkeypatch.setattr(engine, "version", lambda name: f"{name} 9")

    def key(name):
        """Return the key of an engine."""
        return engine.key(params.Extract.model_construct(
            engine=name, dtype="float32"))
    assert {name: "openvino" in key(name) for name in engine.MODULES} == {
        "tflite": False, "tensorflow": False, "openvino": True}
    assert len({key(name)["code"] for name in engine.MODULES}) == 3
    before = key("tflite")
    monkeypatch.setattr(openvino_engine, "__file__", __file__)
    monkeypatch.setattr(tensorflow_engine, "__file__", __file__)
    assert key("tflite") == before


def test_batch_of_tensorflow(frozen, monkeypatch):
    """EXTRACT_BATCH sets the images a step, and nothing in the key."""
    model, images = frozen
    expected = engine.load("tensorflow", model, None).compute(images)
    monkeypatch.setenv("EXTRACT_BATCH", "24")
    loaded = engine.load("tensorflow", model, None)
    assert loaded.chunk == 24 and loaded.workers > 1
    assert parts.relative(loaded.compute(images), expected) < 1e-6
    for wrong in ("0", "many", "-4", ""):
        monkeypatch.setenv("EXTRACT_BATCH", wrong)
        with pytest.raises(errors.EngineError, match="^EXTRACT_BATCH: '"):
            engine.load("tensorflow", model, None)


def test_batch_that_does_not_fit(frozen, monkeypatch):
    """A device without enough memory is reported in one line."""
    def full(_):
        """Fail as a full GPU does."""
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")
    monkeypatch.setattr(tf, "constant", full)
    with pytest.raises(errors.EngineError, match="^64 images a step do not "
                       "fit into the memory of CPU:0; set .* EXTRACT_BATCH"):
        engine.load("tensorflow", *frozen[:1], None).compute(frozen[1])


def test_plan_names_the_fastest(project, monkeypatch, capsys):
    """The plan of long work compares engines; it changes nothing."""
    monkeypatch.setattr(probe, "LONG", 0)
    monkeypatch.setattr(engine, "others", lambda _: ["tensorflow"])
    rates = {"tflite": 400.0, "tensorflow": 500.0}
    loads = engine.load
    monkeypatch.setattr(engine, "load", lambda name, model, folder: (
        loads(name, model, folder)._replace(chunk=rates[name])
        if name == "tensorflow" else loads(name, model, folder)))
    monkeypatch.setattr(probe, "rate", lambda loaded, _: max(
        400.0, loaded.chunk))
    project.set(extract__dtype="float16")
    text = extract(project, monkeypatch, capsys)[2]
    assert ("extract: tensorflow is the fastest installed engine here: "
            "tensorflow 500, tflite 400 images/s; `dvc exp run -S extract."
            "engine=tensorflow` chooses it, and computes all 300 rows\n"
            ) in text
    assert 'engine: tflite' in open(project.file("params.yaml")).read()
    rates["tensorflow"] = 410.0
    project.set(backbone__pooling="max")
    text = extract(project, monkeypatch, capsys)[2]
    assert ("no installed engine is faster here: tensorflow 410, tflite 400 "
            "images/s\n") in text


@pytest.mark.slow
def test_benchmark_of_gpus(frozen, monkeypatch):
    """It refuses without a GPU, and measures each batch on the processor.

    With several images a step, the processor decides whether order matters.
    """
    monkeypatch.syspath_prepend(os.path.join(ROOT, "benchmarks"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("EXTRACT_BATCH", "1")    # restored afterwards
    gpu = importlib.import_module("gpu")
    with pytest.raises(SystemExit, match="^gpu: TensorFlow sees no GPU .*--c"):
        gpu.main([])
    table, = gpu.main(["--cpu", "--side", "32", "--images", "32"]).values()
    assert list(table) == ["16 images a step", "32 images a step"]
    for row in table.values():
        assert row["images_per_second"] > 0
        assert 0 < row["share_of_transfer_one_thread"] < 1
        assert row["difference_to_first_batch"] < 1e-6
    model, images = frozen[0], frozen[1][:64]
    order = np.random.default_rng(1).permutation(len(images))
    for batch in (1, 16):
        row, = gpu.measure(model, images, "/CPU:0", (batch,)).values()
        loaded = engine.load("tensorflow", model, None)
        same = np.array_equal(by_threads(loaded, images[order], batch),
                              by_threads(loaded, images, batch)[order])
        assert row["same_bytes_in_any_order"] == same
        assert same or batch > 1


@pytest.mark.slow
def test_matrix_rates(monkeypatch):
    """The benchmark's limit is the best of several libraries."""
    monkeypatch.syspath_prepend(os.path.join(ROOT, "benchmarks"))
    rates = importlib.import_module("matrix_rates").measure(64)
    assert {name.split()[0] for name in rates} >= {
        "NumPy", "SciPy", "TensorFlow"}
    assert min(rates.values()) > 0
