#!/usr/bin/env python3
"""Damage files of a finished project in place; compare what repair makes.

Usage: tests/damage_artefacts.py PROJECT [DAMAGES [BATCH [SEED]]]

PROJECT is a copy (`cp -a`: hard links stay) of a project after `dvc repro`.
In rounds of BATCH (5), DAMAGES (100) times, a bit is flipped or the end is cut
off, through a hard link and without a trace in the file's times, as a disk
does, or with one.  The files are drawn from all outs, all objects of DVC's
cache and all entries of its run cache.  Every other round runs `dvc repro`
before anybody looks.  In each round `verify` must name every file that is not
as in the undisturbed run, and `repair` must bring back all md5.
"""
import collections
import glob
import hashlib
import os
import random
import re
import sys
import time

from conftest import Project
from ruamel.yaml import YAML

VERIFY = "python -m commands.verify_artefacts"


def md5(path):
    """Return the md5 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def outs(project):
    """Return the path of each file of an out in dvc.lock."""
    found = []
    for folder in ("", "compare/"):
        lock = project.file(f"{folder}dvc.lock")
        if not os.path.exists(lock):
            continue
        with open(lock, encoding="utf-8") as file:
            stages = YAML(typ="safe").load(file)["stages"]
        for stage in stages.values():
            for out in stage["outs"]:
                path = project.file(folder + out["path"])
                found += [path] if os.path.isfile(path) else glob.glob(
                    f"{path}/**/*.*", recursive=True)
    return found


def cached(project):
    """Return the paths of objects and run-cache entries of DVC."""
    return [path for folder in ("", "compare/") for kind in (
        "files/md5/??/*", "runs/*/*/*") for path in glob.glob(
            project.file(f"{folder}.dvc/cache/{kind}"))]


def damage(path, draw):
    """Flip a bit of a file in place, or truncate it; return which."""
    before = os.stat(path)
    os.chmod(path, 0o644)
    what = draw.choice(["bit", "bit", "end"]) if before.st_size else "none"
    offset = draw.randrange(max(1, before.st_size))
    if what == "bit":
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << draw.randrange(8)]))
    elif what == "end":
        os.truncate(path, offset)
    os.chmod(path, before.st_mode & 0o777)
    if draw.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        what += ", same time"
    return what if what == "none" else f"{what}, byte {offset:,}"


def is_size(path, before):
    """Return whether an entry of the run cache differs in sizes only.

    DVC's digests leave them out, and nobody reads them.
    """
    with open(path, "rb") as file:
        texts = [before, file.read()]
    return "/runs/" in path and len({re.sub(
        rb"size: \d+", b"", text) for text in texts}) == 1


def round_(project, draw, count, expected, unseen):
    """Damage `count` files, verify and repair.

    Args:
        project: `Project`.
        draw: `random.Random`.
        count: of files.
        expected: path -> md5 of all outs.
        unseen: whether `dvc repro` runs first.

    Returns:
        A list of pairs: kind of file, what was done.

    Raises:
        AssertionError: not all are named, or not all bytes come back.
    """
    done, all_files = [], outs(project) + cached(project)
    for path in draw.sample(all_files, count):
        with open(path, "rb") as file:
            before = file.read()
        what = damage(path, draw)
        name = os.path.relpath(path, project.path)
        if md5(path) == hashlib.md5(before).hexdigest() or is_size(
                path, before):
            print(f"  not counted: {name}: {what}")
            continue
        kind = name.split("/")[-1] if ".dvc" not in name else (
            name.split(".dvc/cache/")[1].split("/")[0])
        done.append((kind, what, path, md5(path)))
        print(f"  {name}: {what}", flush=True)
    status = project.run("dvc repro").returncode if unseen else None
    found = project.run(VERIFY)
    for kind, what, path, digest in done:
        still = os.path.exists(path) and md5(path) == digest
        named = f"{os.path.relpath(path, project.path)}: " in found.stdout
        assert named or not still, (path, what, found.stdout)
    for path, digest in expected.items():
        name = os.path.relpath(path, project.path)
        right = os.path.exists(path) and md5(path) == digest
        assert right or f"{name}: " in found.stdout, (name, found.stdout)
    begin = time.monotonic()
    repaired = project.run(f"{VERIFY} --repair")
    assert repaired.returncode == 0, repaired.stdout
    assert {path: md5(path) for path in outs(project)} == expected, (
        repaired.stdout)
    again = project.run(VERIFY)
    assert again.returncode == 0, again.stdout
    assert project.run("dvc repro").stdout.count("Running stage") == 0
    ran = re.findall(r"Running stage '(\w+)'", repaired.stdout)
    print(f"  dvc repro before: {status}; repaired in "
          f"{time.monotonic() - begin:.0f} s by {ran}", flush=True)
    return [(kind, what.split(",")[0]) for kind, what, _, _ in done]


def main(path, damages=100, batch=5, seed=0):
    """Run rounds until `damages` files were damaged; print a summary."""
    project, draw = Project(os.path.abspath(path)), random.Random(int(seed))
    first = project.run(VERIFY)
    assert first.returncode == 0, first.stdout
    expected = {path: md5(path) for path in outs(project)}
    found, number = [], 0
    while len(found) < int(damages):
        print(f"round {number}:", flush=True)
        found += round_(project, draw, int(batch), expected, number % 2)
        number += 1
    print(f"{len(found)} damages in {number} rounds, all named, all repaired "
          "to the same bytes:")
    for (kind, what), count in sorted(collections.Counter(found).items()):
        print(f"  {count} x {kind}: {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
