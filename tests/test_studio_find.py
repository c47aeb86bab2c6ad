"""Find in the studio: surveys of the data sets that were named at the start, and the pages of their units."""

from __future__ import annotations

import importlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelgrad as pg
from pixelgrad import registry, unit_pictures, unit_table
from pixelgrad.datasets import open_data
from pixelgrad.errors import DataError, SettingError
from pixelgrad.studio import jobs, surveys
from pixelgrad.studio.job import FINAL
from pixelgrad.studio.offered import offered
from tests.counting import Counting
from tests.studios import MODEL, bring, done, events, opened, submitted

LONG = 120_000  # ms; for work that a busy machine may take its time over
SOME = {"layers": "layer1", "k": 2}


def pictures(folder: Path, each: int = 3) -> Path:
    """A few pictures of two classes that the small network has."""
    random = np.random.default_rng(0)
    for name in ("goldfish", "bee"):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    return pictures(tmp_path / "secret" / "photos")


@pytest.fixture
def studio(tmp_path, data):
    with opened(tmp_path / "studio", data=offered([str(data)])) as client:
        yield client


@pytest.fixture
def parts(monkeypatch, data):
    """Forty parts of two pictures each, and a survey that rests after each: time enough to come between, whatever else
    the machine does. Before `studio`, which lists the pictures."""
    for folder in data.iterdir():
        for i in range(3, 40):
            shutil.copy(folder / "0.png", folder / f"{i}.png")
    monkeypatch.setattr(importlib.import_module("pixelgrad.run_over"), "SMALL", 2)
    registry.surveys()
    monkeypatch.setitem(registry._surveys, Counting.name, Counting)


def asked(client, survey="find/patches", data="photos", **settings):
    """The answer to a survey."""
    body = {"survey": survey, "settings": settings, "model": MODEL, "data": data}
    return client.post("/api/jobs", json=body)


def file(client, result, name: str) -> bytes:
    (url,) = [f["url"] for f in result["files"] if f["name"] == name]
    return client.get(url).content


def reached(client, job: str, pictures: int) -> None:
    """Wait until a job has done so many pictures."""
    while (now := client.get(f"/api/jobs/{job}").json())["done"] < pictures:
        assert now["state"] not in FINAL, now
        time.sleep(0.01)


# ---------------------------------------------------------------------- surveys


def test_a_survey_is_what_the_library_the_copied_code_and_the_copied_command_make(
    studio, data, tmp_path, monkeypatch, run
):
    result = done(studio, asked(studio, **SOME))
    direct = pg.run_over(pg.make("find/patches", **SOME), pg.load(MODEL), data, tmp_path / "direct")
    assert result["found"] == list(direct.found)
    assert (result["technique"], result["data"], result["settings"]) == ("find/patches", "photos", SOME)
    assert result["report"] == {"data": "photos", "pictures": 6, "unreadable": 0}
    tables = file(studio, result, "patches.csv")
    assert tables == (direct.folder / "patches.csv").read_bytes()
    (sheet,) = result["panels"]
    with Image.open(io.BytesIO(studio.get(sheet["url"]).content)) as shown:
        assert shown.size == (sheet["width"], sheet["height"])
        with Image.open(direct.folder / "layer1.png") as own:
            assert shown.tobytes() == own.tobytes()
    assert studio.get(f"/r/{result['id']}").status_code == 200

    for again in ("code", "command"):
        (tmp_path / again).mkdir()
        (tmp_path / again / "photos").symlink_to(data)
        monkeypatch.chdir(tmp_path / again)
        if again == "code":
            with redirect_stdout(io.StringIO()) as said:
                exec(result["python"], {})
            assert said.getvalue().splitlines() == result["found"]
        else:
            assert run(*shlex.split(result["command"])[1:]).code == 0
        assert (tmp_path / again / "patches" / "patches.csv").read_bytes() == tables


def test_it_offers_the_surveys_of_the_registry_and_tells_no_folder(studio, tmp_path):
    offer = studio.get("/api/surveys")
    told = {s["name"]: s for s in offer.json()["surveys"]}
    assert set(told) == set(registry.surveys())
    for name, survey in registry.surveys().items():
        assert [s["name"] for s in told[name]["settings"]] == [s.name for s in survey.settings()]
        assert told[name]["available"] is True
    assert offer.json()["data"] == [{"name": "photos", "pictures": 6, "classes": True}]
    result = done(studio, asked(studio, **SOME))
    (layer,) = studio.get(f"/api/units?result={result['id']}").json()
    pages = [layer["url"], layer["channels"][0]["url"], f"/found/{result['id']}/"]
    tables = [f["url"] for f in result["files"]]
    for path in ("/api/surveys", f"/api/results/{result['id']}", *pages, *tables):
        answer = studio.get(path)
        assert answer.status_code == 200
        assert str(tmp_path).encode() not in answer.content
        assert b"secret" not in answer.content


def test_units_have_their_patches_and_pages_and_nothing_else_is_served(studio, data, tmp_path):
    assert studio.get(f"/api/units?model={MODEL}").json() == []
    result = done(studio, asked(studio, **SOME))
    (layer,) = studio.get(f"/api/units?model={MODEL}").json()
    (run,) = (tmp_path / "studio" / "runs").iterdir()
    (table,) = unit_table.read(run)["layers"]
    alive = [unit for unit in table["units"] if unit["best"]]
    assert layer["layer"] == "layer1"
    assert [c["index"] for c in layer["channels"]] == [unit["channel"] for unit in alive]

    model, one, last = pg.load(MODEL), layer["channels"][0], layer["channels"][-1]
    shown = unit_pictures.examples(model, open_data(data), alive[0])
    own, _ = unit_pictures.mosaics(model, "layer1", shown, unit_pictures.way_down(model, "layer1", shown[0]))
    with Image.open(io.BytesIO(studio.get(one["patches"]).content)) as patches:
        assert patches.tobytes() == own.tobytes()
    page = studio.get(one["url"])
    assert f"layer1, channel {alive[0]['channel']}" in page.text
    assert "raised" not in page.text
    assert "script" not in page.headers["content-security-policy"]
    for path in ("units.json", "run.json", "answer.json", "../about.json", "layer1/99.html", "layer9/0.html"):
        assert studio.get(f"/found/{result['id']}/{path}").status_code == 404
    assert studio.get(one["url"].replace(result["id"], "a" * 22)).status_code == 404

    shutil.rmtree(data)  # what is made already stays, and the rest is said to be gone
    assert studio.get(one["url"]).status_code == 200
    answer = studio.get(last["url"])
    assert (answer.status_code, "photos" in answer.json()["error"]) == (404, True)


def test_the_same_question_has_its_result_at_once(studio, monkeypatch):
    first = done(studio, asked(studio, **SOME))
    monkeypatch.setattr(surveys, "run_over", None)
    assert done(studio, asked(studio, **SOME))["id"] == first["id"]
    assert done(studio, asked(studio, layers=" layer1", k=2))["id"] == first["id"]


def test_a_report_is_of_its_own_network_only(tmp_path):
    (tmp_path / "units" / "a").mkdir(parents=True)
    (tmp_path / "units" / "a" / "0.html").write_text("page")
    table = '{"model": "other", "layers": [{"layer": "a", "units": [{"channel": 0}]}]}'
    (tmp_path / "units" / "units.json").write_text(table)
    with opened(tmp_path / "studio", units=tmp_path / "units") as client:
        assert client.get(f"/api/units?model={MODEL}").json() == []
        (layer,) = client.get("/api/units?model=other").json()
        assert client.get(layer["channels"][0]["url"]).text == "page"


# ---------------------------------------------------------------------- going on


def test_a_cancelled_survey_goes_on_where_it_was(parts, studio, tmp_path):
    """Batches of 16 are the whole of a part; the survey rests in each, so that there is time to cancel."""
    job = asked(studio, "find/counting", pause=0.1).json()["id"]
    reached(studio, job, 2)
    studio.delete(f"/api/jobs/{job}")
    assert events(studio, job)[-1][1]["state"] == "cancelled"
    kept = list((tmp_path / "studio" / "runs").glob("*/parts/part-*"))
    assert kept
    again = asked(studio, "find/counting", pause=0.1)
    counts = {state["done"] for _, state in events(studio, again.json()["id"])}
    assert 0 < min(counts - {0}) == 2 * len(kept)
    assert done(studio, again)["found"] == ["80 pictures were counted"]


@pytest.mark.filterwarnings("ignore:.* of 40 parts are done")
def test_one_that_has_had_its_share_while_others_wait_keeps_its_parts(parts, studio, monkeypatch):
    cat = bring(studio)
    job = asked(studio, "find/counting", pause=0.5).json()["id"]
    reached(studio, job, 2)
    monkeypatch.setattr(jobs, "SHARE", 0.0)
    assert submitted(studio, "show/saliency", [cat]).status_code == 202
    last = events(studio, job)[-1][1]
    assert (last["state"], "goes on" in last["error"]) == ("cancelled", True)
    monkeypatch.undo()


def test_others_may_work_while_a_survey_rests(parts, studio):
    cat = bring(studio)
    alone = done(studio, submitted(studio, "show/saliency", [cat]))
    job = asked(studio, "find/counting", pause=0.1).json()["id"]
    studio.post(f"/api/jobs/{job}/pause")
    while (now := studio.get(f"/api/jobs/{job}").json())["state"] != "paused":
        assert now["state"] not in FINAL, now
        time.sleep(0.01)
    between = done(studio, submitted(studio, "show/saliency", [cat]))
    assert file(studio, between, "cat-saliency.safetensors") == file(
        studio, alone, "cat-saliency.safetensors"
    )
    studio.post(f"/api/jobs/{job}/resume")
    assert events(studio, job)[-1][1]["state"] == "done"


# ---------------------------------------------------------------------- what is wrong


WRONG = [
    ({"data": "../photos"}, "data", "there are photos"),
    ({"data": None}, "data", "no data set"),
    ({"survey": "find/patch"}, "survey", "did you mean 'find/patches'"),
    ({"model": "resnet50"}, "model", "no model"),
    ({"settings": {"k": 0}}, "k", "k is from 1 to 100; got 0"),
    ({"settings": {"k": 1, "layers": "nowhere"}}, "layers", "no layer 'nowhere'"),
    ({"settings": {"colour": 1}}, "colour", "it has layers, k"),
    ({"settings": []}, None, "settings is an object"),
]


@pytest.mark.parametrize(("change", "field", "words"), WRONG)
def test_what_cannot_be_asked_is_said_at_its_field(studio, change, field, words):
    body = {"survey": "find/patches", "settings": {}, "model": MODEL, "data": "photos", **change}
    answer = studio.post("/api/jobs", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert words in answer.json()["error"]


def test_a_data_set_that_vanished_is_said_to_have(studio, data, tmp_path):
    shutil.rmtree(data)
    answer = asked(studio, **SOME)
    assert (answer.status_code, answer.json()["field"]) == (422, "data")
    assert "photos is not there any more" in answer.json()["error"]
    assert str(tmp_path) not in answer.text


def test_one_that_vanishes_while_it_is_read_leaves_nothing_that_would_be_wrong(parts, studio, data, tmp_path):
    answer = asked(studio, "find/counting", pause=0.1)
    reached(studio, answer.json()["id"], 2)
    shutil.rmtree(data)
    last = events(studio, answer.json()["id"])[-1][1]
    assert (last["state"], "not there any more" in last["error"]) == ("failed", True)
    assert list((tmp_path / "studio" / "runs").iterdir()) == []
    pictures(data)
    assert done(studio, asked(studio, "find/counting"))["found"] == ["6 pictures were counted"]


def test_data_sets_are_checked_at_the_start(tmp_path, data, fails):
    other = pictures(tmp_path / "elsewhere" / "photos", 1)
    with pytest.raises(SettingError, match="two data sets are called photos"):
        offered([str(data), str(other)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        offered([str(tmp_path / "empty")])
    listed = tmp_path / "list.txt"
    listed.write_text(f"{data / 'bee' / '0.png'}\n{data / 'bee' / 'none.png'}\n")
    (one, none) = offered([str(listed)])["list.txt"].read(0, 2)
    assert (one.name, none.name) == ("0.png", "none.png")
    assert str(tmp_path) not in str(none.image)
    assert "no such folder or file" in fails("studio", "--data", "nowhere")


# ---------------------------------------------------------------------- the page


@pytest.fixture
def page(tmp_path, data):
    """The page of a studio of its own, in a browser; at the end it must have no complaint."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium, Debian's `chromium` or Google Chrome, on the PATH")
    home = str(tmp_path / "home")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": home, "XDG_CACHE_HOME": home}
    program = "from pixelgrad.cli import main; main()"
    command = [sys.executable, "-c", program, "studio", "--model", MODEL, "--port", "0", "--data", str(data)]
    complaints: list[str] = []
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server,
        api.sync_playwright() as playwright,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1].rstrip("/")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address)
        context.set_default_timeout(LONG)
        context.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        yield context.new_page(), api.expect, complaints
        browser.close()
        server.send_signal(signal.SIGINT)
    assert complaints == []


def seen(picture) -> None:
    """Wait until a picture is loaded and not broken."""
    picture.evaluate("(img) => img.complete || new Promise((done) => { img.onload = img.onerror = done; })")
    assert picture.evaluate("(img) => img.naturalWidth") > 0


def test_from_find_to_the_unit_and_from_a_channel_to_its_patches(page, tmp_path):
    page, expect, complaints = page
    page.goto("/")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Top patches")
    expect(page.get_by_label("data set")).to_have_value("photos")
    page.get_by_label("layers").fill("nowhere")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#setting-layers-error")).to_contain_text("no layer 'nowhere'", timeout=LONG)
    assert [line for line in complaints if "422" not in line] == []
    complaints.clear()  # the browser itself reports what was refused
    page.get_by_label("layers").fill("layer1")
    page.get_by_label("k", exact=True).fill("2")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".found")).to_contain_text("layer1: 32 of 32 channels are active", timeout=LONG)
    expect(page.locator(".panel.sheet")).to_have_count(1)
    expect(page.locator(".again pre")).to_have_text(
        f"pixelgrad find patches photos --out patches --layers layer1 -k 2 --model {MODEL}"
    )
    result = page.url
    assert "/r/" in result
    page.screenshot(path=tmp_path / "find.png", full_page=True)

    page.locator("details.units summary").click()
    with page.context.expect_page() as opened_page:
        page.locator(".numbers a").nth(3).click()
    unit = opened_page.value
    expect(unit.get_by_role("heading", level=1)).to_have_text("layer1, channel 3")
    for picture in unit.locator("img").all():
        seen(picture)
    unit.get_by_role("link", name="layer1").click()
    seen(unit.locator("img").first)
    unit.close()

    page.get_by_role("button", name="Layers", exact=True).click()
    page.locator(".layers button", has=page.locator(".badge")).click()
    page.locator(".tile").first.click()
    card = page.locator(".unit figure", has_text="Its strongest patches")
    seen(card.locator("img"))
    page.screenshot(path=tmp_path / "channel.png")

    page.goto(result)  # the address brings it back, with its settings
    expect(page.locator(".found")).to_be_visible(timeout=LONG)
    expect(page.get_by_label("k", exact=True)).to_have_value("2")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("html").evaluate("(html) => html.scrollWidth") == 390
    page.screenshot(path=tmp_path / "telephone.png", full_page=True)

    page.route("**/api/surveys", lambda route: route.fulfill(json={**route.fetch().json(), "data": []}))
    page.route("**/api/units*", lambda route: route.fulfill(json=[]))
    page.goto("/")
    page.get_by_role("button", name="Find", exact=True).click()
    for line in ("pixelgrad studio --data PICTURES", "pixelgrad report RUN", "pixelgrad studio --units RUN"):
        expect(page.locator("#stage")).to_contain_text(line)


def test_a_first_picture_that_comes_late_leaves_a_survey_alone(page):
    page, expect, _ = page
    held = []
    page.route("**/api/pictures", lambda route: held.append(route))
    page.goto("/")
    page.get_by_role("button", name="Find", exact=True).click()
    page.get_by_label("layers").fill("layer1")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    held[0].continue_()
    expect(page.locator(".found")).to_contain_text("layer1: 32 of 32 channels are active", timeout=LONG)
    expect(page.get_by_label("layers")).to_have_value("layer1")
