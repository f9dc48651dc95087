#!/usr/bin/env python3
"""Open the page of cached features with many classes in a browser, timed.

Usage: python benchmarks/page.py [--classes 1000] [--points 10000] [--keep OUT]

The features are drawn, clustered by class; Chromium and its driver show them
as `tests/test_page.py` does, without a graphics card.  Prints medians and
ranges of `REPEATS` openings: seconds until the page is interactive,
milliseconds until a choice is drawn, and of a frame while the points are
moved, with the part of it that is the page's own script.
"""
import argparse
import os
import shutil
import sys
import tempfile
import types

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
__import__("stages")    # checks this Python

import numpy as np    # noqa: E402
from selenium import webdriver    # noqa: E402
from stages.lib.common import files    # noqa: E402
from stages.lib.inspection import cached_features, page    # noqa: E402
from stages.lib.results import scores    # noqa: E402

REPEATS = 5
KEY = {"application": "drawn", "options": {}, "side": 32, "pooling": "avg",
       "cut": "top", "weights": "none", "dtype": "float32", "engine": "none"}
READY = """
const seen = setInterval(() => {
  if (!document.body || !document.body.dataset.ready) return;
  clearInterval(seen);
  window.readyAt = performance.now();
}, 5);"""
ACT = """
const done = arguments[1], begin = performance.now();
new Function(arguments[0])();
requestAnimationFrame(() => requestAnimationFrame(
  () => done(performance.now() - begin)));"""
PAN = """
const done = arguments[0], box = document.querySelector("#plot .nsewdrag");
const place = box.getBoundingClientRect(), frames = [], script = [];
const send = (kind, n) => (n ? document : box).dispatchEvent(
  new MouseEvent(kind, {bubbles: true, cancelable: true, view: window,
    buttons: 1, clientX: place.left + 300 + 2 * n,
    clientY: place.top + 200 + n}));
send("mousedown", 0);
let n = 0, last = performance.now();
const median = values => values.sort((a, b) => a - b)[values.length >> 1];
const step = () => {
  const begin = performance.now();
  if (n++) frames.push(begin - last);
  last = begin;
  if (n > 20) {
    send("mouseup", n);
    return done([median(frames), median(script)]);
  }
  send("mousemove", n);
  script.push(performance.now() - begin);
  requestAnimationFrame(step);
};
requestAnimationFrame(step);"""


def write(path, classes, points):
    """Write a page of drawn features; its pictures go to data/prepared."""
    random = np.random.default_rng(0)
    labels = np.arange(points) % classes
    centres = random.normal(0, 1, (classes, 32))
    vectors = centres[labels] + random.normal(0, 1.1, (points, 32))
    guess = ((centres**2).sum(1) - 2 * vectors @ centres.T).argmin(1)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
               ).astype(np.float32)
    split = np.sort(random.choice(3, points, p=[0.8, 0.1, 0.1]))
    lengths = np.bincount(split, minlength=3)
    for name, length in zip(files.SPLITS, lengths):
        colours = random.integers(0, 256, (length, 4, 4, 3), dtype=np.uint8)
        os.makedirs("data/prepared", exist_ok=True)
        np.save(f"data/prepared/{name}_x.npy",
                colours.repeat(8, 1).repeat(8, 2))
    cached = cached_features.CachedFeatures(
        vectors, labels, split,
        np.concatenate([np.arange(length) for length in lengths]),
        np.zeros(points, "V16"), dict.fromkeys(files.SPLITS),
        {"class_names": [f"class of number {k}" for k in range(classes)],
         "key": KEY})
    names = cached.names
    pairs, times = scores.confused_pairs(labels, guess)
    examined = types.SimpleNamespace(
        findings={"pairs": [
            {"classes": [names[a], names[b]], "mistaken": int(count)}
            for (a, b), count in zip(pairs[:10], times)],
            "label_noise": {"accepted": 0.2}},
        label_errors=np.flatnonzero(guess != labels),
        more_label_errors=np.empty(0, int),
        space=types.SimpleNamespace(points=vectors,
                                    usable=np.ones(points, bool)),
        shares=np.eye(classes)[guess], exact_duplicates=[],
        near_duplicates=[])
    flat = 20 * centres[labels, :2] + random.normal(0, 1, (points, 2))
    page.write(path, cached, examined, np.arange(points),
               flat.astype(np.float32), guess)


def opened(path):
    """Open the page once in a fresh browser; return what was measured."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        for word in ("--headless=new", "--no-sandbox",
                     "--window-size=1400,1000", f"--user-data-dir={profile}",
                     "--enable-unsafe-swiftshader",
                     "--disable-dev-shm-usage"):
            options.add_argument(word)
        driver = webdriver.Chrome(options, webdriver.ChromeService(
            shutil.which("chromedriver")))
        try:
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument",
                                   {"source": READY})
            driver.set_script_timeout(60)
            driver.get(f"file://{path}")
            ready = driver.execute_async_script(
                "const done = arguments[0], seen = setInterval(() => {"
                "if (window.readyAt) { clearInterval(seen); "
                "done(window.readyAt); } }, 5);")
            acts = [driver.execute_async_script(ACT, script) for script in
                    ("only([3])", "hidden.clear(); show()", "select(5)")]
            return [ready / 1000, *acts, *driver.execute_async_script(PAN)]
        finally:
            driver.quit()


def main():
    """Write the page; print the medians of what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10000)
    parser.add_argument("--keep", help="write the page here, too")
    given = parser.parse_args()
    keep = given.keep and os.path.abspath(given.keep)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = os.path.join(folder, "page.html")
        write(path, given.classes, given.points)
        print(f"{given.classes:,} classes, {given.points:,} points, "
              f"{files.readable(os.path.getsize(path))}")
        if keep:
            shutil.copy(path, keep)
        measured = np.array([opened(path) for _ in range(REPEATS)])
    for name, values in zip(
            ("s until interactive", "ms until one class is drawn",
             "ms until all are drawn", "ms until a point is selected",
             "ms a frame while moving", "ms of it in script"), measured.T):
        print(f"{np.median(values):8.1f} {name} "
              f"({values.min():.1f}..{values.max():.1f})")


if __name__ == "__main__":
    main()
