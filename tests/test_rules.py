#!/usr/bin/env python3
"""The rules of the house that a file can break without any stage failing."""
import ast
import inspect
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, STAGES
from ruamel.yaml import YAML

from stages.lib.params import params

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
    """Return the files of the project that the file `name` imports.

    A module that is named as a program (`"stages.lib.parity"`) counts, too.
    """
    modules = set()
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module)
            modules |= {f"{node.module}.{item.name}" for item in node.names}
        elif isinstance(node, ast.Import):
            modules |= {item.name for item in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules.add(node.value)
    paths = {module.replace(".", "/") + ".py" for module in modules}
    return {path for path in paths if path.startswith("stages/")
            and os.path.isfile(os.path.join(ROOT, path))}


COMPARED = ["convnet", "compare"]    # the stages of compare/dvc.yaml


@pytest.mark.parametrize("stage", STAGES + COMPARED)
def test_imports_are_deps(stage):
    """DVC knows every file that a stage imports, directly or not."""
    path, command, up = ("compare/dvc.yaml", "cd .. && exec python", "../"
                         ) if stage in COMPARED else ("dvc.yaml", "python", "")
    found, todo = set(), {f"stages/{stage}.py"}
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= imported(name) - found
    described = pipeline(path)["stages"][stage]
    deps = {dep for dep in described["deps"] if dep.endswith(".py")}
    assert deps == {up + name for name in found}
    assert described["cmd"] == f"{command} -m stages.{stage}"


def test_stages_stand_in_the_order_of_flow():
    """A stage reads only what stands above it; none keeps off the cache."""
    stages = pipeline()["stages"]
    assert list(stages) == STAGES
    written = set()
    for name, stage in stages.items():
        outs = [next(iter(out)) if isinstance(out, dict) else out
                for out in stage["outs"]]
        for dep in stage["deps"]:
            assert (dep in written or dep.startswith("${")
                    or os.path.isfile(os.path.join(ROOT, dep))), dep
        written |= set(outs)
        uncached = any(isinstance(out, dict) for out in stage["outs"])
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
    ("", params.Params), ("compare/", params.Compare)])
def test_params_are_leaves_that_someone_reads(folder, model):
    """Each leaf is declared by a stage or a path; none has a lost name."""
    known = set(leaves(model))
    declared = set(re.findall(r"\$\{(.*?)\}", text(f"{folder}dvc.yaml")))
    for stage in pipeline(f"{folder}dvc.yaml")["stages"].values():
        declared |= set(stage.get("params", []))
    if folder:    # reads some of the repository's, too
        declared -= set(leaves(params.Params))
    assert declared == known
    for name in known:    # treeverse/dvc#10296: invisible to the run cache
        assert not {"size", "nfiles"} & set(name.split(".")), name
    lines = text(f"{folder}params.yaml").splitlines()
    for above, line in zip(lines, lines[1:]):
        if re.match(r"  \w", line):
            assert above.startswith("  # "), line


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
    """0-transfer.py holds one import statement and does nothing else."""
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
    """stages/lib never imports a stage, nor does a stage another one."""
    for name in SOURCES:
        if name.startswith("stages/"):
            assert all(path.startswith("stages/lib/")
                       for path in imported(name)), name


def test_lock_has_no_addresses():
    """The lock file names versions and digests, no place to get them."""
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
