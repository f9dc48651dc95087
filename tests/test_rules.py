#!/usr/bin/env python3
"""Rules of this project that no stage checks."""
import ast
import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, STAGES, Project, stage
from ruamel.yaml import YAML

from stages.lib.params import compare, params

FILES = subprocess.run(["git", "ls-files", "--cached", "--others",
                        "--exclude-standard"], cwd=ROOT, check=True,
                       capture_output=True, text=True).stdout.split("\n")
FILES = [name for name in FILES if os.path.isfile(os.path.join(ROOT, name))]
SOURCES = [name for name in FILES if name.endswith(".py")]


def text(name):
    """Return the text of a file of the project."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def pipeline(name="dvc.yaml"):
    """Return a dvc.yaml as DVC reads it."""
    return YAML(typ="safe").load(text(name))


def imported(name):
    """Return the files of the project that the file `name` imports."""
    modules = set()
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, ast.ImportFrom):
            modules |= {node.module, *(f"{node.module}.{item.name}"
                                       for item in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {item.name for item in node.names}
    paths = {f"{module.replace('.', '/')}.py" for module in modules}
    return {path for path in paths if path in SOURCES}


def needed(name):
    """Return the files that the file `name` imports, directly or not."""
    found, todo = set(), {name}
    while todo:
        path = todo.pop()
        found.add(path)
        todo |= imported(path) - found
    return found - {name}


def code(stage, path):
    """Return the code dependencies of a stage in the dvc.yaml at `path`."""
    return {dep for dep in pipeline(path)["stages"][stage]["deps"]
            if dep.endswith(".py") or "stages/lib" in dep}


@pytest.mark.parametrize("stage", STAGES)
def test_folders_are_deps(stage):
    """A stage's code is its file and the folders whose modules it imports."""
    folders = {os.path.dirname(path) for path in needed(f"stages/{stage}.py")}
    assert 3 <= len(folders) <= 6
    assert code(stage, "dvc.yaml") == {f"stages/{stage}.py", *folders}
    assert pipeline()["stages"][stage]["cmd"] == f"python3 -m stages.{stage}"


@pytest.mark.parametrize("stage", ["convnet", "compare"])
def test_files_are_deps_of_compare(stage):
    """compare/dvc.yaml names files: outside, DVC ignores no __pycache__."""
    files = {f"../{path}" for path in needed(f"compare/{stage}.py")}
    assert code(stage, "compare/dvc.yaml") == {f"{stage}.py", *files}
    assert pipeline("compare/dvc.yaml")["stages"][stage]["cmd"] == (
        f"cd .. && exec python3 -m compare.{stage}")


def test_pipeline_is_short():
    """dvc.yaml fits on a few screens, and names no file of stages/lib."""
    assert len(text("dvc.yaml").splitlines()) <= 220
    assert not re.search(r"stages/lib/\w+/\w+\.py", text("dvc.yaml"))
    assert "__pycache__/" in text(".dvcignore").splitlines()


LAYERS = ["common", "params", "images", "sources", "backbone", "engines",
          "cache", "training", "fusing", "results", "inspection"]


def test_imports_run_one_way():
    """A folder of stages/lib imports earlier ones only, and no stage."""
    for name in SOURCES:
        if not name.startswith("stages/lib/"):
            continue
        folder = name.split("/")[2]
        assert name.count("/") == 3 and folder in LAYERS, name
        for path in imported(name):
            assert path.startswith("stages/lib/"), (name, path)
            assert LAYERS.index(path.split("/")[2]) <= LAYERS.index(
                folder), (name, path)
        assert "__main__" not in text(name), name


OWN = ("stages", "commands", "compare", "study", "paper")


def test_one_import_style():
    """Our own code is imported as modules: `from package import module`."""
    for name in SOURCES:
        for node in ast.walk(ast.parse(text(name))):
            if isinstance(node, ast.Import):
                assert not any(item.name.startswith(OWN)
                               for item in node.names), name
            if not isinstance(node, ast.ImportFrom) or not (
                    node.module.startswith(OWN)):
                continue
            path = node.module.replace(".", "/")
            for item in node.names:
                assert f"{path}/{item.name}.py" in SOURCES or (
                    node.module.endswith(".keras_runtime")
                    and item.name in ("keras", "tf")), (name, item.name)


def test_imports_that_cost():
    """`prepare` and `resize` of arrays import only what they use."""
    for line, unwanted in [
            ("from stages import prepare",
             {"tensorflow", "PIL", "sklearn", "stages.lib.backbone"}),
            ("from stages.lib.sources import npz", {"tensorflow", "PIL"}),
            ("from stages import evaluate", {"tensorflow"}),
            ("from stages import resize", {"stages.lib.images.decoding",
                                           "sklearn", "dvc"})]:
        done = subprocess.run(
            [sys.executable, "-c", f"{line}; import sys; "
             "print(*sys.modules, sep='\\n')"], cwd=ROOT, check=True,
            capture_output=True, text=True)
        assert not unwanted & set(done.stdout.split()), line


@pytest.mark.parametrize("name", sorted(
    name[:-3].replace("/", ".") for name in SOURCES
    if re.match("commands/[^_]", name)))
def test_commands_have_help(name, monkeypatch, capsys):
    """`python -m commands.<verb>_<noun> --help` shows what it is."""
    assert re.fullmatch(r"commands\.[a-z]+_[a-z]+", name)
    with monkeypatch.context() as patch:
        assert stage(Project(ROOT), patch, name, "--help") in (0, None)
    assert f"usage: python -m {name} " in capsys.readouterr().out


def test_stages_stand_in_the_order_of_flow():
    """A stage reads only outs of earlier stages; outs are cached."""
    stages = pipeline()["stages"]
    assert list(stages) == STAGES
    written = set()
    for name, one in stages.items():
        outs = [next(iter(out)) if isinstance(out, dict) else out
                for out in one["outs"]]
        for dep in one["deps"]:
            assert (dep in written or dep.startswith("${")
                    or os.path.exists(os.path.join(ROOT, dep))), dep
        written |= set(outs)
        uncached = any(isinstance(out, dict) for out in one["outs"])
        assert uncached == (name == "resize")


def leaves(model, prefix=""):
    """Yield the dotted names of the leaves of a model of parameters."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, params.Group):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("folder, model", [
    ("", params.Params), ("compare/", compare.Compare)])
def test_params_are_leaves_that_someone_reads(folder, model):
    """Each leaf is a dependency of a stage or a path; none has a bad name."""
    known = set(leaves(model))
    declared = set(re.findall(r"\$\{(.*?)\}", text(f"{folder}dvc.yaml")))
    for one in pipeline(f"{folder}dvc.yaml")["stages"].values():
        declared |= set(one.get("params", []))
    if folder:    # reads some of the repository's, too
        declared -= set(leaves(params.Params))
    assert declared == known
    for name in known:    # treeverse/dvc#10296: invisible to the run cache
        assert not {"size", "nfiles"} & set(name.split(".")), name
    lines = text(f"{folder}params.yaml").splitlines()
    for above, line in zip(lines, lines[1:]):
        if re.match(r"  \w", line):
            assert above.startswith("  # "), line


def test_first_stage_of_a_change():
    """What the README's table says of a parameter, dvc.yaml says, too."""
    stages = pipeline()["stages"]
    rows = re.findall(r"^\| (`[a-z_.]+`.*?) \| (\w+),", text("README.md"),
                      re.M)
    assert len(rows) == 3
    for names, first in rows:
        group = None
        for name in re.findall("`([a-z_.]+)`", names):
            group = group if name.startswith(".") else name.split(".")[0]
            name = f"{group}{name}" if name.startswith(".") else name
            assert name in stages[first]["params"], name
            assert all(name not in stages[earlier].get("params", ())
                       for earlier in STAGES[:STAGES.index(first)]), name


@pytest.mark.parametrize("name", SOURCES)
def test_python_files(name):
    """Shebang, mode, end of file, and a docstring for everything."""
    source = text(name)
    assert source.startswith("#!/usr/bin/env python3\n")
    assert source.endswith("\n") and not source.endswith("\n\n")
    assert os.access(os.path.join(ROOT, name), os.X_OK)
    tree = ast.parse(source)
    for node in [tree, *ast.walk(tree)]:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            assert ast.get_docstring(node), getattr(node, "name", name)


def test_script_has_one_import():
    """0-transfer.py contains one import statement and does nothing else."""
    tree = ast.parse(text("0-transfer.py"))
    found = [ast.unparse(node) for node in ast.walk(tree)
             if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert found == ["from tensorflow import keras as K"]
    done = subprocess.run(
        [sys.executable, "-c", "import runpy; "
         "runpy.run_path('0-transfer.py', run_name='imported')"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == ""


def test_stages_do_not_import_each_other():
    """A stage imports nothing but stages/lib."""
    for name in [f"stages/{stage}.py" for stage in STAGES]:
        assert all(path.startswith("stages/lib/")
                   for path in imported(name)), name


def test_lock_has_no_addresses():
    """The lock file contains versions and digests, but no addresses."""
    lock = text("requirements.lock")
    assert "://" not in lock and "index" not in lock.split("\n", 3)[1]
    for line in ("tensorflow==2.15.", "numpy==1.25.2", "keras==2.15."):
        assert f"\n{line}" in lock


def test_artefacts_are_ignored_and_the_lock_is_not():
    """Artefacts never get into git; dvc.lock, the user's record, may."""
    outs = [next(iter(out)) if isinstance(out, dict) else out
            for stage in pipeline()["stages"].values()
            for out in stage["outs"]]
    assert "${fuse.output}" in outs
    outs[outs.index("${fuse.output}")] = "cifar10.h5"
    outs += [f"compare/{out}" for stage in pipeline(
        "compare/dvc.yaml")["stages"].values() for out in stage["outs"]]
    for name in [*outs, "logs/x", "build/x", ".venv/x", "a.npy.part"]:
        done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT,
                              check=False)
        assert done.returncode == 0, name
    assert subprocess.run(["git", "check-ignore", "-q", "dvc.lock"],
                          cwd=ROOT, check=False).returncode == 1
    assert "dvc.lock" not in FILES


@pytest.mark.parametrize("name", [
    name for name in SOURCES
    if name.startswith(("benchmarks/", "study/", "tests/"))])
def test_names_of_stages_exist(name):
    """What no test runs uses no name of the pipeline's code that is gone."""
    tree, modules = ast.parse(text(name)), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (
                f"{node.module}.".startswith("stages.")):
            for item in node.names:
                path = f"{node.module}.{item.name}"
                if f"{path.replace('.', '/')}.py" in SOURCES:
                    modules[item.name] = importlib.import_module(path)
                else:
                    assert hasattr(importlib.import_module(node.module),
                                   item.name), path
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(
                node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), (
                f"{node.value.id}.{node.attr}")
