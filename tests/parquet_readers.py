#!/usr/bin/env python3
"""The recipes of docs/parquet.md, each in an environment of its own.

Not part of the suite: `python -m pytest tests/parquet_readers.py`.  Those of
`LARGE` are run if the environment contains READERS=all; PYTHON names the
interpreter, 3.10 or later for them.
"""
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import ROOT, stage

SMALL = {"DuckDB": r"\s0\.0 ", "datasets": r"\(100, 256\) float32"}
LARGE = {"cleanlab": r"near_duplicate", "Embedding Atlas": r"\"neighbours\""}
WANTED = {**SMALL, **(LARGE if os.environ.get("READERS") == "all" else {})}
COMMAND = ("python -m commands.inspect_features "
           "--parquet build/features.parquet")


def recipes():
    """Return section of docs/parquet.md -> its blocks, (language, text)."""
    with open(f"{ROOT}/docs/parquet.md", encoding="utf-8") as file:
        _, *parts = re.split(r"^## (.*)$", file.read(), flags=re.M)
    return {name: re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)
            for name, text in zip(parts[::2], parts[1::2])}


def answer(words, project):
    """Start a server, return what it says about its data, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*words, "--host", "127.0.0.1", "--port", str(port)],
        cwd=project.path)
    try:
        for _ in range(120):    # it imports PyTorch
            time.sleep(2)
            assert server.poll() is None
            try:
                with urllib.request.urlopen(
                        f"http://127.0.0.1:{port}/data/metadata.json") as one:
                    return one.read().decode()
            except OSError:
                continue
    finally:
        server.kill()
        server.communicate()
    return ""


def test_all_have_a_recipe():
    """The documentation has a recipe for each program, of few lines."""
    assert list(recipes()) == [*SMALL, *LARGE]
    with open(f"{ROOT}/docs/parquet.md", encoding="utf-8") as file:
        assert COMMAND in file.read()
    for blocks in recipes().values():
        assert blocks[-1][1].count("\n") <= 13


@pytest.mark.parametrize("name", WANTED)
def test_recipe(name, project, monkeypatch, tmp_path):
    """The recipe installs, runs, and prints what it should."""
    assert stage(project, monkeypatch, "commands.inspect_features",
                 *COMMAND.split()[3:], "--projection", "pca") is None
    binaries = tmp_path / "environment" / "bin"
    subprocess.run([os.environ.get("PYTHON", sys.executable), "-m", "venv",
                    binaries.parent], check=True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (_, first), *others = recipes()[name]
    install, *serve = map(shlex.split, first.splitlines())
    subprocess.run([binaries / install[0], *install[1:], "--quiet"],
                   check=True)
    for words in serve:
        out = answer([binaries / words[0], *words[1:]], project)
    for _, code in others:
        done = subprocess.run([binaries / "python", "-c", code],
                              cwd=project.path, text=True, check=True,
                              stdout=subprocess.PIPE)
        out = done.stdout
    assert re.search(WANTED[name], out), out
