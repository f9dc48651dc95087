#!/usr/bin/env python3
"""Damage files of a finished project in place; compare what repair makes.

Usage: tests/damage_artefacts.py PROJECT [DAMAGES [BATCH [SEED]]]

PROJECT is a project after `dvc repro`, such as build/real/project of
tests/real_data.py.  It is damaged in place, and is as before in the end; that
takes little disk.  In rounds of BATCH (5), DAMAGES (100) times, a bit is
flipped or the end is cut off, through a hard link and without a trace in the
file's times, as a disk does, or with one.  The files are drawn from all outs,
all objects of DVC's cache and all entries of its run cache.  The first and
every other round run `dvc repro` before anybody looks.  In each round `verify`
must name every file that is not as in the undisturbed run, and `repair` must
bring back all md5.
"""
import collections
import glob
import os
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from conftest import ROOT, Project
from ruamel.yaml import YAML

sys.path.insert(0, ROOT)

from stages.lib.common import files  # noqa: E402

VERIFY = "python -m commands.verify_artefacts"


def md5s(paths):
    """Return path -> md5 of its bytes, None if it does not exist."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(lambda path: files.digest(
            path, "md5") if os.path.exists(path) else None, paths)))


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


def content(path):
    """Return what is compared of a file: its md5, or a run without counts.

    DVC's digests of an entry of the run cache leave out the numbers of bytes
    and files, and nobody reads them.
    """
    if "/runs/" not in path:
        return md5s([path])[path]
    with open(path, "rb") as file:
        return re.sub(rb"(size|nfiles): \d+", b"", file.read())


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
    done, all_files = [], sorted(outs(project)) + sorted(cached(project))
    for path in draw.sample(all_files, count):
        before, what = content(path), damage(path, draw)
        name = os.path.relpath(path, project.path)
        if content(path) == before:
            print(f"  not counted: {name}: {what}")
            continue
        kind = (name.split(".dvc/")[1].split("/")[1] if ".dvc/" in name
                else os.path.dirname(name) or name)
        done.append((kind, what, path, md5s([path])[path]))
        print(f"  {name}: {what}", flush=True)
    status = project.run("dvc repro").returncode if unseen else None
    begin, found = time.monotonic(), project.run(VERIFY)
    seconds = time.monotonic() - begin
    now = md5s([*expected, *(path for _, _, path, _ in done)])
    wrong = [path for path, digest in expected.items() if now[path] != digest]
    wrong += [path for _, _, path, digest in done if now[path] == digest]
    for path in wrong:
        name = os.path.relpath(path, project.path)
        assert f"{name}: " in found.stdout, (name, found.stdout)
    begin = time.monotonic()
    repaired = project.run(f"{VERIFY} --repair")    # verifies again, too
    assert repaired.returncode == 0, repaired.stdout
    taken = time.monotonic() - begin
    assert md5s(outs(project)) == expected, repaired.stdout
    assert project.run("dvc repro").stdout.count("Running stage") == 0
    ran = re.findall(r"Running stage '(\w+)'", repaired.stdout)
    print(f"  dvc repro before: {status}; verified in {seconds:.0f} s, "
          f"repaired in {taken:.0f} s by {ran}", flush=True)
    return [(kind, what.split(",")[0]) for kind, what, _, _ in done]


def main(path, damages=100, batch=5, seed=0):
    """Run rounds until `damages` files were damaged; print a summary."""
    project, draw = Project(os.path.abspath(path)), random.Random(int(seed))
    first = project.run(VERIFY)
    assert first.returncode == 0, first.stdout
    expected = md5s(outs(project))
    found, number, begin = [], 0, time.monotonic()
    while len(found) < int(damages):
        print(f"round {number}:", flush=True)
        found += round_(project, draw, int(batch), expected, number % 2 == 0)
        number += 1
    print(f"{len(found)} damages in {number} rounds, "
          f"{time.monotonic() - begin:.0f} s, all named, all repaired to the "
          "same bytes:")
    for (kind, what), count in sorted(collections.Counter(found).items()):
        print(f"  {count} x {kind}: {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
