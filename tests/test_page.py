#!/usr/bin/env python3
"""The page to explore features, in a real browser.

Needs Chromium and its driver (Debian: chromium, chromium-driver); without
them the test is skipped, or fails if the environment
contains BROWSER=required.
"""
import os
import shutil
import time

import pytest
from conftest import stage

from stages.lib.common import manifest

webdriver = pytest.importorskip("selenium.webdriver") if (
    os.environ.get("BROWSER") != "required") else __import__(
        "selenium.webdriver", fromlist=["webdriver"])
FOUND = shutil.which("chromium") and shutil.which("chromedriver")
INSPECT = "commands.inspect_features"
COUNT = """
const plot = document.getElementById("plot");
return plot.data.slice(0, -1).filter(one => one.visible)
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
    for _ in range(100):
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    pytest.fail("the page did not answer within 10 s")


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
    command = ["--html", page, "--projection", "pca", "--label-score", "1",
               "--near", "2"]
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

    first = browser.find_element("css selector", "#legend button")
    shown = int(first.text.rsplit(" ", 1)[1])
    first.send_keys("\ue007")
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


def test_many_names(project, monkeypatch, browser, tmp_path):
    """Many classes have a scrolled legend; their names are text only."""
    names = ["</script><script>document.title = 'run'</script>", "new\nline",
             "<b>bold</b>", *(f"class {k}" for k in range(3, 4200))]
    page = str(tmp_path / "page.html")
    monkeypatch.chdir(project.path)
    made = manifest.read()
    manifest.write(made["key"], names, made["arrays"])
    assert stage(project, monkeypatch, INSPECT, "--html", page,
                 "--projection", "pca", "--points", "200") is None
    open_page(browser, page)
    assert browser.title == "Cached features"
    assert browser.find_element("id", "key").text.endswith(
        "; 200 of 300 images")
    assert browser.find_element("id", "note").text == (
        "4,200 classes; colours and marks repeat after 60")
    legend = browser.find_element("id", "legend")
    assert legend.size["height"] < 200
    buttons = legend.find_elements("tag name", "button")
    assert len(buttons) == len(names)
    for button, name in zip(buttons, [names[0], "new\\nline", names[2]]):
        assert button.get_attribute("title") == name
        assert button.text.startswith(f"{name} ")
    every = browser.find_element("id", "all")
    assert browser.execute_script(COUNT) == 200
    every.click()
    assert browser.execute_script(COUNT) == 0 and every.text == "Show all"
    buttons = legend.find_elements("tag name", "button")
    buttons[2].click()
    assert browser.execute_script(COUNT) == int(
        buttons[2].text.rsplit(" ", 1)[1]) > 0
    every.click()
    assert browser.execute_script(COUNT) == 200
