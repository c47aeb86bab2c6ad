"""The studio's page in a real browser without a window: what a visitor does, and what they see of it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelgrad import images

pytest.importorskip("fastapi", reason="needs the studio extra: pip install 'pixelgrad[studio]'")
api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium, Debian's `chromium` or Google Chrome, on the PATH"
)
LONG = 120_000  # ms; for work that a busy machine may take its time over
RESULT = ".panel.result canvas.layer:not([hidden])"
DROP = """([data, name, type]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type }));
  return carried;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A studio of its own, with the small network."""
    home = str(tmp_path_factory.mktemp("home"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": home, "XDG_CACHE_HOME": home}
    program = "from pixelgrad.cli import main; main()"
    command = [sys.executable, "-c", program, "studio", "--model", "tinynet", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        yield line.split()[-1].rstrip("/")
        server.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Visit:
    """One visitor: the page, what it asked for and what it complained of."""

    def __init__(self, browser, address: str, **options) -> None:
        self.address = address
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.context.set_default_timeout(LONG)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self.console)

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, path: str = "/"):
        self.page.goto(self.address + path)
        self.finished()
        return self.page

    def finished(self) -> None:
        """Wait until a result is there and nothing runs."""
        api.expect(self.page.locator(".saves a").first).to_be_visible(timeout=LONG)
        api.expect(self.page.locator(".running")).to_have_count(0, timeout=LONG)

    def drop(self, file: Path, kind: str = "image/png") -> None:
        data = base64.b64encode(file.read_bytes()).decode()
        carried = self.page.evaluate_handle(DROP, [data, file.name, kind])
        self.page.dispatch_event("body", "drop", {"dataTransfer": carried})

    def forgive(self) -> None:
        """The browser itself reports to the console what was refused or lost."""
        assert all(line.startswith("Failed to load resource") for line in self.complaints)
        self.complaints.clear()

    def drawn(self, what: str = RESULT) -> str:
        return self.page.locator(what).last.evaluate("(canvas) => canvas.toDataURL()")

    def follow(self, steps: int) -> None:
        """Class visualization of a class, begun."""
        page = self.page
        page.get_by_role("button", name="Follow", exact=True).click()
        page.get_by_role("button", name="Class visualization").click()
        page.get_by_role("combobox", name="class").press_sequentially("goldfi")
        page.get_by_role("option", name="goldfish").click()
        page.locator("details.more summary").first.click()
        page.get_by_label("steps", exact=True).fill(str(steps))
        page.get_by_role("button", name="Run", exact=True).click()


@pytest.fixture
def visit(browser, address):
    """Makes visits; at their end each must have asked no other host, and the page must have no complaint."""
    visits = []

    def make(**options) -> Visit:
        visits.append(Visit(browser, address, **options))
        return visits[-1]

    yield make
    for one in visits:
        one.context.close()
        assert [url for url in one.requests if not url.startswith((address, "data:", "blob:"))] == []
        assert one.complaints == []


@pytest.fixture
def picture(tmp_path) -> Path:
    """A picture of one's own."""
    file = tmp_path / "mine.png"
    with Image.open(images.find("sample:coffee")) as photo:
        photo.convert("RGB").resize((90, 60)).save(file)
    return file


def test_first_load_shows_guesses_and_saliency_and_a_dropped_picture_takes_their_place(
    visit, picture, tmp_path
):
    one = visit()
    page = one.open()
    api.expect(page.locator("#guesses li")).to_have_count(5)
    api.expect(page.get_by_role("heading", level=1)).to_have_text("Saliency")
    api.expect(page.locator(".panel")).to_have_count(2)
    assert page.url.startswith(one.address + "/r/")
    before, address = one.drawn(".panel.map canvas.layer:not([hidden])"), page.url
    page.screenshot(path=tmp_path / "first.png")

    one.drop(picture)
    api.expect(page.locator("#photo")).to_have_attribute("alt", "mine.png, as the network is given it")
    page.wait_for_url(lambda url: url not in (address, one.address + "/"))
    one.finished()
    assert one.drawn(".panel.map canvas.layer:not([hidden])") != before

    # its address brings it back, to another visitor too
    other = visit()
    other.open(page.url.removeprefix(one.address))
    api.expect(other.page.get_by_role("heading", level=1)).to_have_text("Saliency")
    maps = ".panel.map canvas.layer:not([hidden])"
    assert other.drawn(maps) == one.drawn(maps)


def test_sliders_zoom_and_the_value_under_the_pointer(visit):
    one = visit()
    page = one.open()
    made = page.request.get(f"{one.address}/api/results/{page.url.rpartition('/')[2]}").json()
    about = next(panel for panel in made["panels"] if panel["name"] == "map")
    values = np.frombuffer(page.request.get(one.address + about["values"]).body(), "<f4")
    for place in ({"x": 60, "y": 220}, {"x": 200, "y": 100}):
        page.locator(".panel.map .port").hover(position=place)
        shown = page.locator(".panel.map .value")
        row, column = map(int, re.findall(r"\d+", shown.get_attribute("title")))
        value = values.reshape(about["height"], about["width"])[row, column]
        assert float(shown.inner_text()) == pytest.approx(value, rel=5e-3)

    page.get_by_role("button", name="larger").click()
    places = [layer.evaluate("(e) => e.style.transform") for layer in page.locator("canvas.layer").all()]
    assert len(set(places)) == 1
    assert "scale(1.5)" in places[0]

    page.get_by_role("button", name="Slider", exact=True).click()
    api.expect(page.locator(".panel.original")).to_be_hidden()
    page.get_by_label("where the original ends").fill("25")
    assert page.locator(".panel.map .over").evaluate("(e) => e.style.clipPath").endswith("25%)")
    page.get_by_role("button", name="Overlay", exact=True).click()
    page.get_by_label("opacity").fill("30")
    assert page.locator(".panel.map .over").evaluate("(e) => e.style.opacity") == "0.3"


def test_class_visualization_streams_and_can_be_cancelled(visit, tmp_path):
    one = visit()
    page = one.open()
    with page.expect_response("**/api/jobs") as asked:
        one.follow(100_000)
    frames: set[str] = set()
    api.expect(page.locator(RESULT)).to_have_count(1)
    while len(frames) < 3:
        frames.add(one.drawn())
    api.expect(page.locator(".running .facts")).to_contain_text("of 100000")
    api.expect(page.locator("canvas.curve")).to_be_visible()
    page.screenshot(path=tmp_path / "streaming.png")

    page.get_by_role("button", name="Cancel").click()
    api.expect(page.get_by_text("Cancelled.")).to_be_visible()
    api.expect(page.locator(".running")).to_have_count(0)
    job = f"{one.address}/api/jobs/{asked.value.json()['id']}"
    while page.request.get(job).json()["state"] != "cancelled":
        page.wait_for_timeout(50)


def test_step_slider_download_and_restoring_from_the_png(visit, tmp_path):
    one = visit()
    page = one.open()
    one.follow(40)
    one.finished()
    api.expect(page.locator(".panel.result canvas.layer").last).to_be_visible()
    last, slider = one.drawn(), page.get_by_label("Step", exact=True)
    api.expect(page.locator(".steps output")).to_have_text("step 40 of 40")
    slider.press("Home")
    api.expect(page.locator(".steps output")).not_to_have_text("step 40 of 40")
    while one.drawn() == last:
        page.wait_for_timeout(50)
    slider.press("End")
    while one.drawn() != last:
        page.wait_for_timeout(50)

    with page.expect_download() as saved:
        page.get_by_role("link", name="Save PNG").first.click()
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    recipe = images.recipe(str(file))
    assert (recipe["technique"], recipe["settings"]["steps"]) == ("follow/class-visualization", 40)

    other = visit()
    other.open()
    other.drop(file)
    api.expect(other.page.locator("#picture-note")).to_contain_text("follow/class-visualization")
    api.expect(other.page.get_by_role("heading", level=1)).to_have_text("Class visualization")
    api.expect(other.page.get_by_role("combobox", name="class")).to_have_value("goldfish")
    api.expect(other.page.get_by_label("steps", exact=True)).to_have_value("40")


def test_compare_and_layers(visit, picture, tmp_path):
    one = visit()
    page = one.open()
    one.drop(picture)  # smaller than the samples, which a dream takes longer over
    api.expect(page.locator("#photo")).to_have_attribute("alt", re.compile("^mine.png"))
    page.get_by_role("button", name="Compare", exact=True).click()
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    for name in ("Saliency", "Grad-CAM"):
        page.get_by_label(name, exact=True).check()
    page.get_by_role("button", name="Run", exact=True).click()
    api.expect(page.locator(".panel")).to_have_count(3)
    one.finished()
    page.screenshot(path=tmp_path / "compare.png")

    page.get_by_role("button", name="Layers", exact=True).click()
    page.locator(".layers button").nth(2).click()
    page.locator(".tile").first.click()
    api.expect(page.locator(".unit figure")).to_have_count(3)
    api.expect(page.locator(".unit .running")).to_have_count(0, timeout=LONG)
    page.screenshot(path=tmp_path / "layers.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone_in_both_themes_and_languages(visit, tmp_path, scheme):
    one = visit(color_scheme=scheme, has_touch=True)
    page = one.page
    page.set_viewport_size({"width": 390, "height": 844})
    one.open()
    page.screenshot(path=tmp_path / f"telephone-{scheme}.png", full_page=True)
    paper = page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
    page.locator("#theme").click()
    other = page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
    dark, light = (paper, other) if scheme == "dark" else (other, paper)
    assert (dark, light) == ("rgb(23, 23, 26)", "rgb(255, 255, 255)")

    for verb in page.locator("#verbs button").all_inner_texts():
        page.get_by_role("button", name=verb, exact=True).click()
        assert page.locator("html").evaluate("(html) => html.scrollWidth") == 390, verb
    page.get_by_role("button", name="中文").click()
    api.expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    api.expect(page.get_by_role("button", name="观察", exact=True)).to_be_visible()


def test_what_is_wrong_is_said_at_its_field_and_a_bad_file_under_the_picture(visit, tmp_path):
    one = visit()
    page = one.open()
    page.get_by_role("button", name="SmoothGrad").click()
    one.finished()
    page.locator("details.more summary").first.click()
    page.get_by_label("samples", exact=True).fill("0")
    page.get_by_role("button", name="Run", exact=True).click()
    api.expect(page.locator("#setting-samples-error")).to_have_text("This is to be at least 1.")
    api.expect(page.get_by_label("samples", exact=True)).to_be_focused()
    page.get_by_label("samples", exact=True).fill("4")

    chooser = page.get_by_role("combobox", name="class")
    chooser.fill("no such animal")
    chooser.blur()
    api.expect(page.locator("#setting-target-error")).to_contain_text("no such animal")
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    one.drop(text)
    api.expect(page.locator("#picture-note")).to_be_visible()
    one.forgive()


def test_a_layer_that_a_later_answer_lacks_stays_in_the_list(visit):
    """Receptive fields come later; the list stays what it was."""
    one = visit()
    page, answers = one.open(), []

    def shortened(route):
        layers = route.fetch().json()
        field = {"height": 3, "width": 3, "stride_y": 1, "stride_x": 1}
        if answers:
            layers = [{**layer, "field": field} for layer in layers[1:]]
        else:
            layers = [{**layer, "field": False} for layer in layers]
        answers.append(layers)
        route.fulfill(json=layers)

    page.route("**/api/models/*/layers", shortened)
    page.get_by_role("button", name="Layers", exact=True).click()
    api.expect(page.locator(".layers button").nth(1)).to_contain_text("sees 3 px", timeout=LONG)
    api.expect(page.locator(".layers button").first).not_to_contain_text("sees")
    assert page.locator(".layers button").count() == len(answers[0]) > len(answers[-1])
    page.locator(".layers button").first.click()
    api.expect(page.locator(".tile").first).to_be_visible(timeout=LONG)


def test_each_picture_has_its_trust_card(visit):
    one = visit()
    page = one.open()
    row = {"name": "deletion", "value": 0.1, "baseline": 0.2, "random": 0.3, "words": "lower is better"}
    cards = [{"picture": f"{n}.png", "title": n, "figures": [row], "words": f"Card of {n}."} for n in "ab"]

    def with_cards(route):
        route.fulfill(json={**route.fetch().json(), "trust": cards})

    page.route(re.compile(r"/api/results/[^/]+$"), with_cards)
    one.open(page.url.removeprefix(one.address))
    api.expect(page.locator(".trust p")).to_have_text("Card of a.")
    page.get_by_role("button", name="2: b.png").click()
    api.expect(page.locator(".trust p")).to_have_text("Card of b.")
    api.expect(page.locator(".trust tbody tr")).to_contain_text("0.1")


def test_a_running_job_that_is_left_for_another_page_says_nothing_there(visit):
    one = visit()
    page = one.open()
    one.follow(100_000)
    api.expect(page.locator(".running .facts")).to_contain_text("goldfish")
    api.expect(page.locator(".running .facts")).to_contain_text("logit")
    page.get_by_role("button", name="Layers", exact=True).click()
    api.expect(page.get_by_text("Click a layer")).to_be_visible()
    api.expect(page.locator(".running")).to_have_count(0)
    assert page.get_by_text("Cancelled").count() == 0


def test_a_lost_connection_is_said_and_found_again(visit):
    one = visit()
    page = one.open()
    one.context.set_offline(True)
    page.get_by_role("button", name="Grad-CAM").click()
    api.expect(page.get_by_text("Connection lost, trying again…")).to_be_visible()
    one.context.set_offline(False)
    api.expect(page.locator("#banner")).to_be_hidden()
    page.get_by_role("button", name="Run", exact=True).click()
    one.finished()
    one.forgive()
