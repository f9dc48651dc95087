#!/usr/bin/env python3
"""Real images as JPEG files, with copies: who moves when files change?

Usage: python benchmarks/carving.py ARRAYS.npz [IMAGES]

Writes IMAGES (60,000) of the arrays as JPEG files, a folder for each class,
and 1 % of them a second time, as PNG, BMP, or turned with an orientation that
turns them back.  Runs `prepare`, which carves validation and test; then again
after each edit of 20 files, and counts the pictures that changed sides.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
__import__("stages")    # checks this Python

import numpy as np  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

from stages.lib.common import image_table  # noqa: E402

EDITED = 20
SPLITS = ("train", "validation", "test")


def write(folder, path, count):
    """Write `count` images and the copies; return the paths of the files."""
    with np.load(path) as arrays:
        x = np.concatenate([arrays["x_train"], arrays["x_test"]])[:count]
        y = np.concatenate([arrays["y_train"].ravel(),
                            arrays["y_test"].ravel()])[:count]
    paths = []
    for k, (image, label) in enumerate(zip(x, y)):
        paths.append(os.path.join(folder, str(label), f"{k:05}.jpg"))
        os.makedirs(os.path.dirname(paths[-1]), exist_ok=True)
        Image.fromarray(image).save(paths[-1], quality=95)
    for k, path in enumerate(paths[::100]):
        again(path, k)
    return paths


def again(path, k):
    """Write the picture in `path` again, in one of three ways."""
    with Image.open(path) as image:
        image.load()
    stem = path.replace(".jpg", "-copy")
    if k % 3 == 2:    # turned by 180 degrees, and a tag that says so
        exif = Image.Exif()
        exif[0x0112] = 3
        image.rotate(180).save(f"{stem}.png", exif=exif)
    else:
        image.save(f"{stem}.{('png', 'bmp')[k % 3]}")


def sides(folder):
    """Return the SHA-256 of each picture's pixels -> set of its splits."""
    found = {}
    for split in SPLITS:
        for row in image_table.read(f"data/prepared/{split}_rows.npy"):
            with Image.open(os.path.join(folder, row["image"])) as image:
                pixels = ImageOps.exif_transpose(image).convert("RGB")
            digest = hashlib.sha256(pixels.tobytes()).digest()
            found.setdefault(digest, set()).add(split)
    return found


def prepare(folder):
    """Run `prepare` on `folder`; return `sides`, and print leaks."""
    subprocess.run([sys.executable, "-m", "stages.prepare"], check=True,
                   stdout=subprocess.DEVNULL)
    found = sides(folder)
    with open("results/data.json", encoding="utf-8") as file:
        counted = json.load(file)
    print(f"  {len(found):,} pictures, on two sides "
          f"{sum(len(where) > 1 for where in found.values())}; prepare counts "
          f"{counted['leaked_images']} leaks, {counted['copies']} copies",
          flush=True)
    return found


def edits(paths, other):
    """Yield name and function of each edit of `EDITED` files."""
    random = np.random.default_rng(0)
    drawn = [list(random.choice(paths, EDITED, replace=False))
             for _ in range(3)]

    def rename():
        """Give files names that sort elsewhere."""
        for k, path in enumerate(drawn[0]):
            os.rename(path, os.path.join(os.path.dirname(path),
                                         f"{'0z'[k % 2]}-{k}.jpg"))

    def add():
        """Add other pictures."""
        for k, path in enumerate(drawn[2]):
            Image.fromarray(other[k]).save(path.replace(".jpg", "-new.jpg"))

    yield "touched", lambda: [os.utime(path) for path in drawn[1]]
    yield "renamed", rename
    yield "added", add
    yield "deleted", lambda: [os.unlink(path) for path in drawn[1]
                              if os.path.exists(path)]


def main():
    """Print who moves after each edit."""
    parser = argparse.ArgumentParser(prog="benchmarks/carving.py")
    parser.add_argument("arrays")
    parser.add_argument("images", type=int, nargs="?", default=60000)
    given = parser.parse_args()
    arrays = os.path.abspath(given.arrays)
    with tempfile.TemporaryDirectory() as place:
        project, folder = (os.path.join(place, name)
                           for name in ("project", "images"))
        subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
        os.chdir(project)
        paths = write(folder, arrays, given.images)
        yaml = YAML()
        with open("params.yaml", encoding="utf-8") as file:
            params = yaml.load(file)
        params["data"]["source"] = folder
        with open("params.yaml", "w", encoding="utf-8") as file:
            yaml.dump(params, file)
        print(f"{len(paths):,} files, {len(paths[::100]):,} of them twice")
        before = prepare(folder)
        noise = np.random.default_rng(1).integers(
            0, 256, (EDITED, 32, 32, 3), dtype="uint8")
        for name, edit in edits(paths, noise):
            edit()
            print(f"{EDITED} files {name}:", flush=True)
            after = prepare(folder)
            moved = sum(after[picture] != where for picture, where
                        in before.items() if picture in after)
            print(f"  {moved} of the other pictures changed sides")
            before = after
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
