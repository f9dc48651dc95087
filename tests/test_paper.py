#!/usr/bin/env python3
"""The paper: every number is filled in; the committed one is up to date."""
import os
import re
import shutil
import subprocess

from conftest import ROOT, environment
from test_page import start_browser  # noqa: F401

from paper import text

WRITTEN = ["paper/paper.md", "paper/paper.html", "README.md"]


def read(path):
    """Return the bytes of a file of the project."""
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.read()


def template():
    """Return the paper's template."""
    return read("paper/paper.md.j2").decode()


def test_no_number_is_typed():
    """Template and README's table have no digits; typed ones are found."""
    assert not text.typed_numbers(template())
    assert not text.typed_numbers(read("paper/table.md.j2").decode())
    for typed, found in [("It has 45,000 images.", ["45,000"]),
                         ("{{ 0.89 | percent }}", ["0.89"]),
                         ("Of CIFAR-10 (2014), `a 5`: {{ p(\"a1.b\") }}", []),
                         ("better by 2 points (95 % interval)", ["2"])]:
        assert [one.rstrip(".") for one in text.typed_numbers(typed)] == found


def test_committed_paper_is_the_tables(tmp_path):
    """`make paper` writes the committed files again, to the byte."""
    for folder in ("paper", "study", "stages"):
        shutil.copytree(os.path.join(ROOT, folder), tmp_path / folder)
    shutil.copy(os.path.join(ROOT, "README.md"), tmp_path)
    pictures = sorted(os.listdir(tmp_path / "paper/figures"))
    shutil.rmtree(tmp_path / "paper/figures")
    for path in WRITTEN[:2]:
        os.unlink(tmp_path / path)
    done = subprocess.run(["python", "-m", "paper"], cwd=tmp_path, text=True,
                          env=environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    assert sorted(os.listdir(tmp_path / "paper/figures")) == pictures
    for path in WRITTEN + [f"paper/figures/{name}" for name in pictures]:
        assert (tmp_path / path).read_bytes() == read(path), (
            f"{path}: run `make paper` and commit")
    os.unlink(tmp_path / "study/results.csv")
    done = subprocess.run(["python", "-m", "paper"], cwd=tmp_path, text=True,
                          env=environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("paper: study/results.csv: cannot be used")


def test_text():
    """The text has its parts, the length of an article, and no gaps."""
    whole = read("paper/paper.md").decode()
    for part in ["Abstract", "Introduction", "Related work", "Method",
                 "Experiments", "Results", "Discussion", "Conclusion",
                 "Acknowledgements", "References", "Appendix"]:
        assert re.search(f"^## {part}", whole, re.M), part
    assert whole.index("![") < whole.index("## Abstract")
    words = re.sub(r"```.*?```|^\|.*?$|\{.*?\}", "", whole, flags=re.S | re.M)
    assert 2500 <= len(words.split()) <= 4000
    assert not re.search(r"[|(`] ?(None|nan)\b", whole)
    for picture in re.findall(r"\]\(([^)]*png)\)", whole):
        assert os.path.exists(os.path.join(ROOT, "paper", picture)), picture


def test_page(browser):
    """No request leaves the page; wide and narrow, light and dark."""
    browser.get(f"file://{ROOT}/paper/paper.html")
    assert browser.execute_script(
        "return [...document.images].every(one => one.naturalWidth > 100)")
    light = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark"}]})
    assert browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor") != light
    for width in (1300, 360):
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 800, "deviceScaleFactor": 1,
            "mobile": False})
        assert browser.execute_script(
            "return document.documentElement.scrollWidth") <= width
    asked = [entry["message"] for entry in browser.get_log("performance")
             if '"Network.requestWillBeSent"' in entry["message"]]
    assert asked and not [one for one in asked if '"url":"http' in one]
    assert not [entry for entry in browser.get_log("browser")
                if entry["level"] == "SEVERE"]
