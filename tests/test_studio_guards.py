"""Who may ask the studio what: addresses, origins, tokens, limits, and what it never tells."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from types import SimpleNamespace

import pytest
from PIL import Image

from pixelgrad.errors import ModelError
from pixelgrad.studio import guards
from pixelgrad.studio import pictures as brought
from pixelgrad.studio.pictures import clean
from pixelgrad.studio.words import public
from tests.studios import HOME, bring, opened, submitted

TOKEN = "correct-horse"


@pytest.fixture
def studio(tmp_path):
    with opened(tmp_path / "studio") as client:
        yield client


@pytest.fixture
def locked(tmp_path):
    with opened(tmp_path / "studio", token=TOKEN) as client:
        yield client


def png(width: int, height: int) -> bytes:
    """A picture whose file is far smaller than its pixels."""
    row = b"\0" + bytes(-(-width // 8))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# ---------------------------------------------------------------------- from where


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8700", "127.0.0.1.evil.example", "", "[", "a b"]
)
def test_another_name_does_not_lead_here(studio, host):
    answer = studio.get("/api/about", headers={"host": host})
    assert answer.status_code in (400, 403)
    assert "models" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8700", "localhost:1", "LOCALHOST", "[::1]:8700", "192.168.1.7"])
def test_addresses_and_localhost_do(studio, host):
    assert studio.get("/api/about", headers={"host": host}).status_code == 200


def test_a_name_given_at_the_start_does(tmp_path):
    with opened(tmp_path, names=("Studio.Lab",)) as client:
        assert client.get("/", headers={"host": "studio.lab:8700"}).status_code == 200


@pytest.mark.parametrize("method", ["post", "delete", "put", "patch"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": f"{HOME}1"},
        {"origin": "http://localhost:8700"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "", "sec-fetch-site": "cross-site"},
    ],
)
def test_changes_come_from_the_page_itself(studio, method, headers):
    answer = studio.request(method, "/api/jobs", headers=headers)
    assert answer.status_code == 403
    assert "own page only" in answer.json()["error"]


def test_a_browser_that_sends_no_origin_says_that_it_is_the_same(studio):
    del studio.headers["origin"]
    assert studio.post("/api/session").status_code == 403
    assert studio.post("/api/session", headers={"sec-fetch-site": "same-site"}).status_code == 403
    assert studio.post("/api/session", headers={"sec-fetch-site": "same-origin"}).status_code == 200


# ---------------------------------------------------------------------- the token


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong-token"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"cookie": f"{guards.SESSION}={TOKEN}"},
        {"cookie": f"{guards.SESSION}="},
        {"cookie": f"{guards.SESSION}=Ü".encode()},
    ],
)
@pytest.mark.parametrize("path", ["/api/about", "/api/techniques", "/api/pictures/x.png", "/api/results/x"])
def test_with_a_token_nothing_is_told_without(locked, path, headers):
    answer = locked.get(path, headers=headers)
    assert (answer.status_code, list(answer.json())) == (403, ["error", "field"])


def test_the_page_itself_needs_no_token(locked):
    assert locked.get("/").status_code == 200
    assert locked.get("/page/main.js").status_code == 200


def test_the_token_becomes_a_cookie_for_pictures_and_events(locked):
    right = {"authorization": f"Bearer {TOKEN}"}
    assert locked.get("/api/about", headers=right).status_code == 200
    answer = locked.post("/api/session", headers=right)
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(guards.SESSION)]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert locked.get("/api/about").status_code == 200  # the client has kept the cookie


def test_a_cookie_of_another_token_is_worth_nothing(tmp_path, locked):
    locked.post("/api/session", headers={"authorization": f"Bearer {TOKEN}"})
    with opened(tmp_path / "other", token="another-token") as other:
        other.cookies.update(locked.cookies)
        assert other.get("/api/about").status_code == 403


# ---------------------------------------------------------------------- what browsers are told


@pytest.mark.parametrize(
    "path", ["/", "/page/main.js", "/api/about", "/api/nothing", "/r/x", "/api/results/x"]
)
def test_every_answer_forbids_what_it_can(studio, path):
    headers = studio.get(path).headers
    assert headers["content-security-policy"] == guards.CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_inline_script_or_style_and_asks_no_other_host(studio):
    text = studio.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?://|[\"']//", text)


def test_modules_are_served_as_modules(studio):
    assert studio.get("/page/main.js").headers["content-type"].startswith("text/javascript")
    assert studio.get("/page/style.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page/app.py",
        "/page/",
        "/api/results/../../etc/passwd",
        "/api/results/..%2f..%2fpictures/about.json",
        "/api/results/aaaaaaaaaaaaaaaaaaaaaa/..%2fabout.json",
        "/api/results/aaaaaaaaaaaaaaaaaaaaaa/panels/..%2f0.png",
        "/api/pictures/..%2f..%2fx.png",
        "/units/index.html",
        "/docs",
        "/openapi.json",
    ],
)
def test_there_is_nothing_beside_what_is_meant(studio, path):
    answer = studio.get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/json"


def test_a_report_about_units_is_served_without_its_tables_and_nothing_beside_it(tmp_path):
    folder = tmp_path / "units"
    (folder / "relu=3a2").mkdir(parents=True)
    (folder / "relu=3a2" / "2.html").write_text("two")
    (folder / "relu=3a2" / "2-patches.png").write_bytes(png(8, 8))
    (folder / "index.html").write_text("all")
    (tmp_path / "secret.html").write_text("secret")
    table = {
        "data": "/home/me/data",
        "layers": [{"layer": "relu:2", "units": [{"channel": 2}, {"channel": 3}]}],
    }
    (folder / "units.json").write_text(json.dumps(table))
    with opened(tmp_path / "studio", units=folder) as client:
        assert client.get("/api/about").json()["units"] is True
        (layer,) = client.get("/api/units").json()
        assert (layer["layer"], [c["index"] for c in layer["channels"]]) == ("relu:2", [2])
        page = client.get(layer["channels"][0]["url"])
        assert page.text == "two"
        assert "script" not in page.headers["content-security-policy"]
        assert client.get(layer["channels"][0]["patches"]).content == png(8, 8)
        assert client.get("/units/").text == "all"
        for path in (
            "units.json",
            "..%2fsecret.html",
            "%2e%2e/secret.html",
            "relu=3a2/3.html",
            "%2fetc/passwd",
        ):
            assert client.get(f"/units/{path}").status_code == 404


# ---------------------------------------------------------------------- uploads


BAD = {
    "text.png": (b"I am no picture.\n", 415, "text.png is not a picture"),
    "empty.png": (b"", 415, "empty.png is not a picture"),
    "cut.png": (png(300, 300)[:60], 415, "cut.png is damaged"),
    "bomb.png": (png(10_000, 10_000), 413, "bomb.png is 10000×10000; at most 64,000,000 pixels are read"),
    "point.png": (png(1, 1), 415, "point.png is 1×1 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_told_in_one_line(studio, tmp_path, name):
    data, status, words = BAD[name]
    answer = studio.post("/api/pictures", content=data, headers={"x-name": name, "content-type": "image/png"})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(words)
    assert str(tmp_path) not in answer.text
    assert [*(tmp_path / "studio" / "new").iterdir(), *(tmp_path / "studio" / "pictures").iterdir()] == []


def test_a_long_upload_is_counted_as_it_arrives(studio, tmp_path, monkeypatch):
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(100):
            sent += 2**20
            yield bytes(2**20)

    monkeypatch.setattr("pixelgrad.studio.api_pictures.BYTES", 3 * 2**20)
    answer = studio.post("/api/pictures", content=endless(), headers={"x-name": "long.png"})
    assert answer.status_code == 413
    assert answer.json()["error"] == "this file is too large; at most 3 MB are read"
    assert list((tmp_path / "studio" / "new").iterdir()) == []


def test_uploads_of_a_hundred_megabytes_are_over_the_limit():
    assert 10 * 2**20 < brought.BYTES < 100 * 2**20


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("--out.png", "out.png"),
        ("red \x1b[31m.png", "red [31m.png"),
        ("two\nlines.png", "twolines.png"),
        ("", "picture"),
        ("...", "picture"),
        ("x" * 300 + ".png", "x" * 76 + ".png"),
    ],
)
def test_names_are_those_of_files(name, expected):
    assert clean(name) == expected


def test_a_name_of_broken_letters_is_taken_as_it_can_be(studio):
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    headers = {"x-name": "%ff%00%E7%8C%AB.png"}
    assert studio.post("/api/pictures", content=data.getvalue(), headers=headers).json()["name"] == "�猫.png"


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"{", 400), (b"[" * 50_000, 400), (b'"' + b"x" * 100_000 + b'"', 413), (b"\xff", 400), (b"", 400)],
)
def test_what_is_no_json_is_refused(studio, data, status):
    assert studio.post("/api/jobs", content=data).status_code == status


def test_numbers_that_are_none_are_refused(studio):
    body = b'{"technique": "show/smoothgrad", "settings": {"noise": NaN}, "pictures": ["%s"]}'
    for value in (b"NaN", b"Infinity", b"-Infinity"):
        answer = studio.post("/api/jobs", content=(body % bring(studio).encode()).replace(b"NaN", value))
        assert (answer.status_code, answer.json()["field"]) == (422, "noise")


def test_no_folder_of_this_machine_is_told():
    error = ModelError("/home/me/weights/x.pt does not fit; see '/srv/a b', 1/255, a/b and http://h/p/q.")
    assert public(error) == "x.pt does not fit; see 'a b', 1/255, a/b and http://h/p/q."


# ---------------------------------------------------------------------- visitors


def test_a_thousand_jobs_of_one_visitor_are_mostly_refused(studio):
    picture = bring(studio)
    settings = {"target": 1, "steps": 100_000}
    answers = [submitted(studio, "follow/class-visualization", [], **settings) for _ in range(50)]
    codes = [a.status_code for a in answers]
    assert codes == [202] * 4 + [429] * 46
    assert "queue full" in answers[-1].json()["error"]
    studio.cookies.clear()  # who sends no cookie is known by the address
    codes = [_without_cookie(studio, settings) for _ in range(10)]
    assert codes == [202] * 4 + [429] * 6
    assert studio.get(f"/api/pictures/{picture}/top").status_code == 200  # others are answered meanwhile
    for answer in answers[:4]:
        assert studio.delete(f"/api/jobs/{answer.json()['id']}").status_code == 200


def _without_cookie(studio, settings) -> int:
    studio.cookies.clear()
    return submitted(studio, "follow/class-visualization", [], **settings).status_code


def test_a_visitor_is_only_who_was_given_the_cookie(studio):
    made = guards.Guards(SimpleNamespace())
    given = made._visitor()
    assert made._signed(given)
    assert not made._signed(given[:-1] + ("0" if given[-1] != "0" else "1"))
    assert not made._signed("somebody")
    assert not guards.Guards(SimpleNamespace())._signed(given)
