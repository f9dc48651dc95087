#!/usr/bin/env python3
"""The page to explore features, in a real browser.

Needs Chromium and its driver (Debian: chromium, chromium-driver); without
them the test is skipped, or fails if the environment
contains BROWSER=required.
"""
import json
import os
import re
import shutil
import time

import numpy as np
import pytest
from conftest import stage

from stages.lib.common import manifest
from stages.lib.inspection import doctor

webdriver = pytest.importorskip("selenium.webdriver") if (
    os.environ.get("BROWSER") != "required") else __import__(
        "selenium.webdriver", fromlist=["webdriver"])
FOUND = shutil.which("chromium") and shutil.which("chromedriver")
INSPECT = "commands.inspect_features"
COUNT = """
const plot = document.getElementById("plot");
return plot.data.slice(0, -1)
  .map(one => one.x.length).reduce((a, b) => a + b, 0);"""
PLACE = """
const plot = document.getElementById("plot"), layout = plot._fullLayout;
const box = plot.getBoundingClientRect();
return [box.left + layout._size.l + layout.xaxis.l2p(DATA.x[arguments[0]]),
        box.top + layout._size.t + layout.yaxis.l2p(DATA.y[arguments[0]])];"""
DRAWN = """
return [...document.querySelectorAll("#plot canvas.gl-canvas")].some(one => {
  const copy = document.createElement("canvas");
  copy.width = one.width; copy.height = one.height;
  const pen = copy.getContext("2d");
  pen.drawImage(one, 0, 0);
  return pen.getImageData(0, 0, copy.width, copy.height).data
    .some(value => value);
});"""


@pytest.fixture(name="browser")
def start_browser(tmp_path):
    """Yield a headless Chromium that logs its console and every request."""
    if not FOUND:
        if os.environ.get("BROWSER") == "required":
            pytest.fail("chromium or chromedriver is missing")
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--window-size=1300,900",
                 "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
                 f"--user-data-dir={tmp_path}/chromium"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {
        "browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(
        shutil.which("chromedriver")))
    yield driver
    driver.quit()


def until(condition):
    """Wait for a true value of `condition`, return it."""
    for _ in range(600):
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    pytest.fail("the page did not answer within 60 s")


def move(browser, place, button=False):
    """Move the mouse to `place`, x and y in pixels; click there."""
    actions = webdriver.ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(*map(round, place))
    if button:
        actions.w3c_actions.pointer_action.click()
    actions.perform()


def open_page(browser, path):
    """Open the page at `path` and wait until it is drawn."""
    browser.get(f"file://{path}")
    until(lambda: browser.find_elements("css selector", "[data-ready=yes]"))


def test_page(finished, monkeypatch, browser, tmp_path):
    """Points, hover, click, filter, keyboard, dark, narrow; no request."""
    page = str(tmp_path / "page.html")
    command = ["--html", page, "--projection", "pca", "--near", "2",
               "--false-suspects", "1"]
    assert stage(finished, monkeypatch, INSPECT, *command) is None
    open_page(browser, page)
    assert browser.execute_script(COUNT) == 300
    until(lambda: browser.execute_script(DRAWN))

    move(browser, browser.execute_script(PLACE, 0))
    until(lambda: browser.find_element("id", "hover").is_displayed())
    hover = browser.find_element("id", "hover")
    assert "head predicts" in hover.text and "neighbours predict" in hover.text
    assert hover.find_element("class name", "picture").size["width"] == 64

    move(browser, browser.execute_script(PLACE, 0), button=True)
    near = until(lambda: browser.find_elements("css selector",
                                               "#neighbours button"))
    assert len(near) == 8
    before = browser.find_element("id", "shown").text
    near[0].send_keys("\ue007")    # Enter
    assert browser.find_element("id", "shown").text != before

    browser.find_element("css selector", "#shown button").click()
    only = int(browser.execute_script(COUNT))
    name = browser.find_element("css selector", "#shown strong").text
    assert 0 < only < 300
    assert browser.find_element("id", "note").text == f"●{name}"
    browser.find_element("id", "all").click()
    assert browser.execute_script(COUNT) == 300

    first = browser.find_element("css selector", "#legend button")
    shown = int(first.text.rsplit(" ", 1)[1])
    first.send_keys("\ue007")
    first = browser.switch_to.active_element    # drawn again, still focused
    assert first.get_attribute("aria-pressed") == "false"
    assert browser.execute_script(COUNT) == 300 - shown > 0
    browser.find_element("css selector", "#colour [value=mistake]").click()
    assert browser.execute_script(COUNT) == 300
    title = browser.find_element("id", "label_errors-title").text
    rows = browser.find_elements("css selector", "#label_errors button")
    assert rows and title.startswith("Suspected label errors: ")
    named = rows[0].text.split(":")[0]
    rows[0].send_keys("\ue007")
    assert named in browser.find_element("id", "shown").text

    title = browser.find_element("id", "leaks-title").text
    assert title == "Leaks: equal images in two splits: 0"
    assert not browser.find_elements("css selector", "#leaks button")
    pair = browser.find_element("css selector", "#near_leaks button")
    places = {place.split()[0] for place in pair.text.split(", ")}
    assert len(places) == 2 and places <= {"train", "validation", "test"}

    light = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark"}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    assert light != browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor")
    assert browser.execute_script(
        "return document.documentElement.scrollWidth") <= 360
    assert not [line for line in browser.get_log("browser")
                if line["level"] == "SEVERE"]
    asked = [line["message"] for line in browser.get_log("performance")
             if '"Network.requestWillBeSent"' in line["message"]]
    assert asked and not [line for line in asked if '"url":"http' in line]


def found_by_doctor(monkeypatch, **lists):
    """Let the doctor report `lists` of groups of rows such as "train:3"."""
    examine = doctor.examine

    def more(*words):
        """Return what the doctor finds, and `lists`."""
        found = examine(*words)
        found.findings.update({name: [
            [{"row": row, "image": None, "class": ""} for row in group]
            for group in groups] for name, groups in lists.items()})
        return found
    monkeypatch.setattr(doctor, "examine", more)


def test_many_names(project, monkeypatch, browser, tmp_path):
    """A long legend is folded and searched; names are text only."""
    names = ["</script><script>document.title = 'run'</script>", "new\nline",
             "<b>bold</b>", *(f"class {k}" for k in range(3, 4200))]
    page = str(tmp_path / "page.html")
    monkeypatch.chdir(project.path)
    made = manifest.read()
    manifest.write(made["key"], names, made["arrays"])
    copies = [f"test:{k}" for k in range(50, 62)]
    found_by_doctor(monkeypatch, conflicts=[["train:3", "test:7"]],
                    copies=[copies])
    assert stage(project, monkeypatch, INSPECT, "--html", page,
                 "--projection", "pca", "--points", "200") is None
    open_page(browser, page)
    assert browser.title == "Cached features"
    assert browser.find_element("id", "key").text.endswith(
        "; 200 of 300 images")
    assert browser.find_element("id", "count").text == "Legend: 4,200 classes"
    legend = browser.find_element("id", "legend")
    assert not legend.is_displayed()
    browser.find_element("id", "count").click()
    until(lambda: legend.find_elements("tag name", "button"))
    assert legend.size["height"] < 200
    assert browser.find_element("id", "rest").text == (
        "and 3,900 more: search for them")
    search = browser.find_element("id", "search")

    def matching(words):
        """Search for `words`; return the buttons of the legend."""
        search.clear()
        search.send_keys(words)
        return legend.find_elements("css selector", "[aria-pressed]")

    for name in (names[0], "new\\nline", names[2]):
        button, = matching(name)
        assert button.get_attribute("title") == name
        assert re.fullmatch(f".{re.escape(name)} [0-9]+", button.text)
    every = browser.find_element("id", "all")
    assert browser.execute_script(COUNT) == 200
    every.click()
    assert browser.execute_script(COUNT) == 0 and every.text == "Show all"
    button, = matching(names[2])
    button.click()
    button, = matching(names[2])
    one = int(button.text.rsplit(" ", 1)[1])
    assert browser.execute_script(COUNT) == one > 0
    every.click()
    assert browser.execute_script(COUNT) == 200
    legend.find_element("css selector", "[aria-label^=only]").click()
    assert browser.execute_script(COUNT) == one
    assert browser.find_element("id", "note").text.endswith(names[2])
    search.clear()
    search.send_keys("CLASS 3\ue007")    # Enter
    counts = [int(button.text.rsplit(" ", 1)[1])
              for button in matching("class 3")]
    assert browser.execute_script(COUNT) == sum(counts) > 0

    title = browser.find_element("id", "conflicts-title").text
    assert title == "Contradicting labels: equal images, several classes: 1"
    assert browser.find_element("css selector", "#lists h2").text == title
    labels = [np.load(f"data/prepared/{split}_y.npy")[k]
              for split, k in [("train", 3), ("test", 7)]]
    line = browser.find_element("css selector", "#conflicts button")
    shown = [names[k].replace("\n", "\\n") for k in labels]
    assert line.text == f"train 3: {shown[0]}; test 7: {shown[1]}"
    line.click()
    assert "train 3" in browser.find_element("id", "shown").text
    assert browser.find_element("css selector", "#copies button").text == (
        ", ".join(f"test {k}" for k in range(50, 58)) + " and 4 more")


SIGNS = """
const known = new Map();
for (const one of document.getElementById("plot").data.slice(1, -1))
  one.customdata.forEach((k, n) => {
    const sign = one.marker.symbol + " " + one.marker.color[n];
    known.set(sign, (known.get(sign) || new Set()).add(DATA.label[k]));
  });
return [...known.values()].map(classes => classes.size);"""


def test_signs(finished, monkeypatch, browser, tmp_path):
    """No two classes in view have one colour and one mark; the rest is grey.
    """
    page = str(tmp_path / "page.html")
    assert stage(finished, monkeypatch, INSPECT, "--html", page,
                 "--projection", "pca") is None
    with open(page, encoding="utf-8") as file:
        text = file.read()
    start = text.index("const DATA = ") + len("const DATA = ")
    data, end = json.JSONDecoder().raw_decode(text, start)
    data["names"] = [f"class {k}" for k in range(300)]
    data["label"] = list(range(300))
    with open(page, "w", encoding="utf-8") as file:
        file.write(text[:start] + json.dumps(data) + text[end:])
    open_page(browser, page)
    more = browser.find_element("id", "more_label_errors-title")
    count = int(re.match(r"Less suspect labels: (\d+)", more.text)[1])
    assert ("more than 20 % false are expected" in more.text) == (count > 0)
    assert len(data["more_label_errors"]) == count
    assert not browser.find_element("id", "more_label_errors").is_displayed()
    note = browser.find_element("id", "note")
    assert browser.execute_script(SIGNS) == [1] * 120
    assert browser.execute_script(COUNT) == 300
    assert note.text == ("300 in view; the 120 with most mistakes have "
                         "colours, the others are grey")
    browser.execute_script("only([...Array(100).keys()].map(k => 2 * k))")
    assert browser.execute_script(SIGNS) == [1] * 100
    assert note.text == "100 of 300 in view"
    browser.execute_script("only([7, 127])")
    assert browser.execute_script(SIGNS) == [1, 1]
    marks = note.find_elements("class name", "mark")
    assert "class 7" in note.text and "class 127" in note.text
    assert len({(mark.text, mark.value_of_css_property("color"))
                for mark in marks}) == 2
