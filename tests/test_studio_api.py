"""The studio's server: what it offers, does and keeps is what the library does."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load as unpack

import pixelgrad as pg
from pixelgrad import images, pictures, receptive, recipe
from pixelgrad.errors import OutputError
from pixelgrad.methods import comparable
from pixelgrad.receptive import fields
from pixelgrad.registry import techniques
from pixelgrad.studio import describe, jobs, networks
from pixelgrad.studio.store import Store, new_id
from tests.studios import MODEL, bring, done, events, opened, submitted


@pytest.fixture
def studio(tmp_path):
    with opened(tmp_path / "studio") as client:
        yield client


@pytest.fixture(scope="module")
def tiny() -> pg.Classifier:
    return pg.load(MODEL)


# ---------------------------------------------------------------------- what there is


def test_it_says_what_it_offers(studio, tiny):
    bring(studio)
    studio.get(f"/api/models/{MODEL}/labels")  # which waits until the network is there
    about = studio.get("/api/about").json()
    assert about["models"] == [{"name": MODEL, "classes": 100, "size": [64, 64]}]
    assert about["default_model"] == MODEL
    assert [s["id"] for s in about["samples"]] == [f"sample:{name}" for name in images.SAMPLES]
    for sample in about["samples"]:
        with Image.open(io.BytesIO(studio.get(sample["url"]).content)) as small:
            assert max(small.size) == 160


def test_its_techniques_are_those_of_the_registry(studio):
    found = {t["name"]: t for t in studio.get("/api/techniques").json()}
    assert list(found) == list(techniques())
    for name, technique in techniques().items():
        told = {s["name"]: s for s in found[name]["settings"]}
        own = {s.name: s for s in technique.settings()}
        assert [n for n in own if n not in told] == [n for n in own if own[n].role in ("file", "folder")]
        for key, s in told.items():
            kept = (s["default"], s["help"], s["lo"], s["hi"], s["unit"], s["many"])
            assert kept == (
                own[key].default,
                own[key].help,
                own[key].lo,
                64 if own[key].role == "count" else own[key].hi,
                own[key].unit,
                own[key].many,
            )
        assert found[name]["measurable"] == (name.removeprefix("show/") in comparable())
        assert found[name]["needs_pixels"] == technique.needs_pixels
    assert found["follow/class-visualization"]["presets"] == ["robust", "course", "lucid", "maco", "quick"]


def test_a_technique_without_its_extra_says_which(studio, monkeypatch):
    monkeypatch.setattr(describe, "find_spec", lambda name: None)
    found = {t["name"]: t["available"] for t in studio.get("/api/techniques").json()}
    assert "pip install 'pixelgrad[measure]'" in found["show/segmentation"]
    assert found["show/saliency"] is True
    answer = submitted(studio, "show/segmentation", [bring(studio)])
    assert answer.status_code == 422


def test_classes_are_found_by_their_beginning_a_part_their_index_or_nearly(tiny):
    names = ["tabby", "table lamp", "dining table", "veritable", "goldfish"]
    assert [c["index"] for c in describe.labels(names, "TAB")] == [0, 1, 2, 3]
    assert describe.labels(names, "goldfsh")[0] == {"index": 4, "label": "goldfish"}
    assert describe.labels(names, "2")[0] == {"index": 2, "label": "dining table"}
    assert len(describe.labels(tiny.labels, "")) == 20


def test_layers_have_their_shapes_at_once_and_their_fields_later(studio, tiny, monkeypatch):
    listed = tiny.layers()
    some = [listed[0].name, listed[-1].name]
    monkeypatch.setattr(receptive, "fields", lambda model, progress: fields(model, progress, some))
    found = studio.get(f"/api/models/{MODEL}/layers").json()
    assert [(x["name"], x["shape"]) for x in found] == [(x.name, list(x.shape)) for x in listed]
    assert {x["field"] for x in found} == {False}
    while found[0]["field"] is False:
        time.sleep(0.05)
        found = studio.get(f"/api/models/{MODEL}/layers").json()
    assert found[0]["field"] == fields(tiny, layers=some)[some[0]]._asdict()
    assert found[-1]["field"] is None  # it sees the whole picture


def test_layers_are_the_same_while_their_fields_are_measured(tiny):
    """Between two passes, when the network is in use in its faster form."""
    known, asked = networks.Networks([MODEL], None, "cpu"), []

    def midst(step):
        asked.append([layer["name"] for layer in known.layers(MODEL)])
        if len(asked) == 3:
            raise KeyboardInterrupt

    known.get(MODEL).top(torch.full((1, 3, 64, 64), 0.5))  # which makes that form
    with pytest.raises(KeyboardInterrupt):
        known.measure(MODEL, midst)
    assert asked == [[layer.name for layer in tiny.layers()]] * 3


# ---------------------------------------------------------------------- pictures


def test_an_upload_is_encoded_anew_and_classified_as_the_library_does(studio, tiny, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=80)
    data = (tmp_path / "a.jpg").read_bytes()
    answer = studio.post("/api/pictures", content=data, headers={"x-name": "my%20cat.jpg"})
    about = answer.json()
    assert answer.status_code == 201
    assert (about["name"], about["width"], about["height"], about["recipe"]) == ("my cat.jpg", 120, 90, None)
    kept = studio.get(about["url"])
    assert kept.headers["content-type"] == "image/png"
    assert data not in kept.content
    with Image.open(io.BytesIO(kept.content)) as shown:
        assert shown.tobytes() == images.read(tmp_path / "a.jpg").tobytes()
    pixels = pg.open_image(tmp_path / "a.jpg", tiny)
    with Image.open(io.BytesIO(studio.get(f"{about['url']}?model={MODEL}").content)) as given:
        assert given.tobytes() == images.to_image(pixels[0]).tobytes()
    top = studio.get(f"/api/pictures/{about['id']}/top?k=3").json()
    assert [(g["index"], g["label"]) for g in top] == [(g.index, g.label) for g in tiny.top(pixels, 3)[0]]


def test_a_sample_is_kept_once(studio):
    assert bring(studio) == bring(studio)
    assert bring(studio) != bring(studio, "sample:coffee")


def test_the_pictures_of_the_start_come_first(tmp_path):
    Image.new("RGB", (70, 50), "red").save(tmp_path / "mine.png")
    with opened(tmp_path / "studio", own=[tmp_path / "mine.png"]) as client:
        first = client.get("/api/about").json()["samples"][0]
        assert first["name"] == "mine.png"
        kept = client.post("/api/pictures", json={"sample": first["id"]}).json()
        assert (kept["name"], kept["width"]) == ("mine.png", 70)


def test_a_saved_png_brings_its_settings_back(studio, tiny, tmp_path):
    made = pg.make("show/saliency", target=3).run(tiny, pg.open_image("sample:cat", tiny))
    made.save(tmp_path / "s.png")
    about = studio.post("/api/pictures", content=(tmp_path / "s.png").read_bytes()).json()
    expected = {"technique": "show/saliency", "settings": {"target": 3}, "model": MODEL, "images": []}
    assert about["recipe"] == expected


# ---------------------------------------------------------------------- jobs and results


def test_saliency_is_the_librarys_own(studio, tiny):
    found = done(studio, submitted(studio, "show/saliency", [bring(studio)], target=3))
    pixels = pg.open_image("sample:cat", tiny)
    expected = pg.make("show/saliency", target=3).run(tiny, pixels)
    original, shown = found["panels"]
    assert [p["name"] for p in found["panels"]] == ["original", "map"]
    values = np.frombuffer(studio.get(shown["values"]).content, "<f4").reshape(64, 64)
    assert np.array_equal(values, expected.pixels[0].numpy())
    assert (shown["lo"], shown["hi"]) == pictures.scale(expected.pixels[0])
    with Image.open(io.BytesIO(studio.get(original["url"]).content)) as photo:
        assert photo.tobytes() == images.to_image(pixels[0]).tobytes()
    files = {f["name"]: studio.get(f["url"]).content for f in found["files"]}
    assert sorted(files) == ["cat-saliency.png", "cat-saliency.safetensors"]
    with Image.open(io.BytesIO(files["cat-saliency.png"])) as picture:
        assert picture.tobytes() == expected.picture().tobytes()
    assert torch.equal(unpack(files["cat-saliency.safetensors"])["pixels"], expected.pixels)
    assert found["titles"] == list(expected.titles)
    assert found["settings"] == {"target": 3}
    assert (found["frames"], found["curve"]) == (0, [])


def test_a_saved_result_is_made_again_by_the_command_line(studio, done_line, here):
    found = done(studio, submitted(studio, "show/saliency", [bring(studio)], target=3))
    data = studio.get(found["files"][0]["url"]).content
    (here / "out.png").write_bytes(data)
    assert recipe.of_picture("out.png")["images"][0]["path"] == "sample:cat"
    done_line("redo", "out.png")
    assert (here / "out-redo.png").read_bytes() == data


@pytest.fixture
def done_line(request):
    return request.getfixturevalue("done")


@pytest.mark.parametrize(
    ("technique", "settings"),
    [("show/grad-cam", {"guided": True}), ("show/smoothgrad", {"samples": 2, "kind": "squared"})],
)
def test_its_command_and_its_code_make_the_same(studio, done_line, here, monkeypatch, technique, settings):
    found = done(studio, submitted(studio, technique, [bring(studio)], target="goldfish", **settings))
    name = found["files"][0]["name"]
    data = studio.get(found["files"][0]["url"]).content
    done_line(*shlex.split(found["command"])[1:])
    with Image.open(name) as picture, Image.open(io.BytesIO(data)) as kept:
        assert picture.tobytes() == kept.tobytes()
    os.unlink(name)
    exec(found["python"], {})
    with Image.open(name) as picture, Image.open(io.BytesIO(data)) as kept:
        assert picture.tobytes() == kept.tobytes()


def test_what_follows_a_gradient_is_seen_on_its_way(studio):
    answer = submitted(studio, "follow/class-visualization", [], target="goldfish", steps=12)
    seen = events(studio, answer.json()["id"])
    assert [name for name, _ in seen][-1] == "end"
    frames = [state["frame"] for _, state in seen if "frame" in state]
    assert frames[-1]["index"] == 12
    assert all(f["url"].startswith("data:image/jpeg;base64,/9j/") for f in frames)
    last = seen[-1][1]
    assert (last["state"], last["done"], last["total"]) == ("done", 12, 12)
    curve = [point for _, state in seen for point in state.get("curve", [])]
    assert (last["class"], last["score"]) == ("goldfish", None)
    found = studio.get(f"/api/results/{last['result']}").json()
    assert found["curve"] == curve
    assert curve[-1][0] == 12
    assert [last["confidence"], last["logit"]] == curve[-1][1:]
    assert found["steps"] == [*range(1, 13)]
    for k in range(found["frames"]):
        assert studio.get(f"/api/results/{found['id']}/frames/{k}.jpg").content[:2] == b"\xff\xd8"
    film = studio.get(f"/api/results/{found['id']}/film.gif")
    with Image.open(io.BytesIO(film.content)) as moving:
        assert moving.n_frames == 12 + 1  # and the result
        assert moving.size == (64, 64)
    assert studio.get(f"/api/results/{found['id']}/film.mp4").content[4:8] == b"ftyp"


def test_the_last_point_of_the_curve_is_the_networks_own_word(studio, tiny):
    found = done(studio, submitted(studio, "follow/class-visualization", [], target="goldfish", steps=3))
    raw = next(f["url"] for f in found["files"] if f["name"].endswith(".safetensors"))
    pixels = unpack(studio.get(raw).content)["pixels"]
    logits = tiny(pixels).double()[0]
    expected = [float(values[tiny.label("goldfish")]) for values in (logits.softmax(0), logits)]
    assert found["curve"][-1] == [3, *(pytest.approx(value, rel=1e-5) for value in expected)]


def test_where_no_class_is_followed_the_curve_is_of_the_score(studio, tiny):
    answer = submitted(studio, "follow/inversion", [bring(studio)], layer=tiny.layers()[0].name, steps=3)
    _, last = events(studio, answer.json()["id"])[-1]
    found = studio.get(f"/api/results/{last['result']}").json()
    assert (last["class"], last["confidence"], last["logit"], found["class"]) == (None,) * 4
    assert found["curve"][-1] == [3, last["score"]]


def test_what_has_had_its_share_gives_what_it_has_so_far(studio, monkeypatch):
    monkeypatch.setattr(jobs, "SHARE", 0.1)
    long = submitted(studio, "follow/class-visualization", [], target="goldfish", steps=100_000)
    while not studio.get(f"/api/jobs/{long.json()['id']}").json()["done"]:
        time.sleep(0.01)
    short = done(studio, submitted(studio, "show/saliency", [bring(studio)]))
    found = done(studio, long)
    assert (found["cut"], short["cut"]) == (True, False)
    assert 0 < found["report"]["interrupted"] < 100_000
    assert [p["name"] for p in found["panels"]] == ["result"]


def test_a_flight_is_a_film_of_its_own(studio):
    settings = {"steps": 2, "octaves": 1, "zoom": 3, "layer": "3"}
    found = done(studio, submitted(studio, "follow/deepdream", [bring(studio)], **settings))
    assert (found["frames"], found["steps"]) == (1 + 3, [])
    size = found["panels"][-1]["width"], found["panels"][-1]["height"]
    with Image.open(io.BytesIO(studio.get(f"/api/results/{found['id']}/film.gif").content)) as film:
        assert (film.n_frames, film.size) == (5, size)
    with Image.open(io.BytesIO(studio.get(f"/api/results/{found['id']}/frames/0.jpg").content)) as frame:
        assert frame.size == size


def test_a_curve_ends_where_the_work_did(studio):
    found = done(studio, submitted(studio, "follow/fooling", [bring(studio)], target="goldfish", steps=500))
    steps = found["report"]["images"][0]["gradients"] - 1  # the last look takes no step
    assert found["curve"][-1][0] == found["steps"][-1] == pytest.approx(steps, abs=1)
    assert found["curve"][-1][1] == pytest.approx(found["report"]["images"][0]["confidence_after"], abs=1e-3)


def test_a_fooled_picture_comes_with_its_difference(studio):
    found = done(studio, submitted(studio, "follow/fooling", [bring(studio)], target="goldfish"))
    assert [p["name"] for p in found["panels"]] == ["original", "result", "difference"]
    assert [f["name"] for f in found["files"]][:2] == ["cat-fooling.png", "cat-fooling-labelled.png"]


def test_channels_are_panels_of_their_own(studio, tiny):
    layer = tiny.layers()[0].name
    found = done(studio, submitted(studio, "show/activations", [bring(studio)], layer=layer))
    maps = tiny.activations(pg.open_image("sample:cat", tiny), [layer])[layer][0]
    shown = [p for p in found["panels"] if p["name"] == "map"]
    assert len(shown) == min(64, len(maps))
    for panel in shown[:3]:
        values = np.frombuffer(studio.get(panel["values"]).content, "<f4")
        assert np.array_equal(values, maps[panel["channel"]].flatten().numpy())
    highest = [float(maps[p["channel"]].max()) for p in shown]
    assert highest == sorted(highest, reverse=True)
    fewer = done(studio, submitted(studio, "show/activations", [bring(studio)], layer=layer, channels=3))
    assert [p["channel"] for p in fewer["panels"] if p["name"] == "map"] == [p["channel"] for p in shown[:3]]


def test_projections_are_around_grey_with_the_sum_of_their_colours(studio, tiny):
    found = done(studio, submitted(studio, "show/deconvnet", [bring(studio)], top=2))
    expected = pg.make("show/deconvnet", top=2).run(tiny, pg.open_image("sample:cat", tiny))
    shown = [p for p in found["panels"] if p["name"] == "map"]
    for panel, projection, fact in zip(shown, expected.pixels[0], expected.report["images"][0], strict=True):
        assert (panel["kind"], panel["channel"]) == ("image", fact["channel"])
        values = np.frombuffer(studio.get(panel["values"]).content, "<f4")
        assert np.array_equal(values, projection.sum(0).flatten().numpy())
        with Image.open(io.BytesIO(studio.get(panel["url"]).content)) as picture:
            assert picture.tobytes() == pictures.around_grey(projection).tobytes()


def test_methods_side_by_side(studio, tiny):
    body = {
        "compare": ["show/saliency", "show/grad-cam"],
        "model": MODEL,
        "pictures": [bring(studio)],
        "settings": {"target": 3},
    }
    found = done(studio, studio.post("/api/jobs", json=body))
    assert [(p["name"], p["title"]) for p in found["panels"]] == [
        ("original", "sample:cat"),
        ("map", "show/saliency"),
        ("map", "show/grad-cam"),
    ]
    expected = pg.make("show/saliency", target=3).run(tiny, pg.open_image("sample:cat", tiny))
    values = np.frombuffer(studio.get(found["panels"][1]["values"]).content, "<f4")
    assert np.array_equal(values, expected.pixels.flatten().numpy())
    assert found["command"] == (
        f"pixelgrad compare sample:cat --methods saliency,grad-cam --target 3 --model {MODEL}"
    )
    assert found["report"]["left_out"] == {}


def test_a_sheet_is_that_of_its_command(studio, done_line, here):
    body = {"compare": ["saliency", "grad-cam"], "model": MODEL, "pictures": [bring(studio)]}
    found = done(studio, studio.post("/api/jobs", json=body))
    data = studio.get(found["files"][0]["url"]).content
    done_line(*shlex.split(found["command"])[1:])
    with Image.open("compare.png") as own, Image.open(io.BytesIO(data)) as kept:
        assert own.tobytes() == kept.tobytes()


def test_a_trust_card_is_the_librarys(studio, tiny):
    from pixelgrad.trust import trust

    both = [bring(studio), bring(studio, "sample:coffee")]
    body = {"technique": "show/saliency", "model": MODEL, "pictures": both, "trust": True}
    found = done(studio, studio.post("/api/jobs", json=body))["trust"]
    photos = ["sample:cat", "sample:coffee"]
    cards = trust(pg.make("show/saliency"), tiny, pg.open_images(photos, tiny))
    assert [one["picture"] for one in found] == photos
    for one, card in zip(found, cards, strict=True):
        assert one["words"] == card.sentence
        assert [f["value"] for f in one["figures"]] == pytest.approx([row.map for row in card.rows])


def test_a_guide_may_be_a_picture_of_ones_own_and_no_path_is_told(studio, tmp_path):
    guide = bring(studio, "sample:coffee")
    answer = submitted(studio, "follow/deepdream", [bring(studio)], guide=guide, steps=1, octaves=1)
    found = done(studio, answer)
    assert found["settings"] == {"guide": "sample:coffee", "steps": 1, "octaves": 1}
    assert "guide 'sample:coffee'" in found["titles"][0]
    assert str(tmp_path) not in json.dumps(found)
    for file in found["files"]:
        assert str(tmp_path).encode() not in studio.get(file["url"]).content


WRONG = {
    "show/nothing": ({}, "technique", "no technique"),
    "show/saliency": ({"target": "goldfihs"}, "target", "did you mean 'goldfish'"),
    "show/smoothgrad": ({"samples": 0}, "samples", "at least 1"),
    "show/grad-cam": ({"guided": "yes"}, "guided", "true or false"),
    "show/occlusion": ({"sizes": 3}, "sizes", "no setting"),
    "show/activations": ({"layer": "nowhere"}, "layer", "no layer"),
    "show/deconvnet": ({"top": 65}, "top", "at most 64 in the studio; got 65"),
    "show/integrated-gradients": ({"baseline": ["black", []]}, "baseline", "one of"),
    "show/segmentation": ({"foreground": 0.1, "background": 0.2}, "background", "below foreground"),
    "show/input-x-gradient": ({"objective": "__import__('os')"}, "objective", ""),
    "follow/class-visualization": ({"spectrum": "/etc"}, "spectrum", "no setting"),
    "follow/deepdream": ({"guide": "/etc/passwd"}, "guide", "not here"),
    "follow/fooling": ({"steps": 10**400}, "steps", "number"),
    "follow/inversion": ({"layer": {"a": 1}}, "layer", "number, a text"),
}


@pytest.mark.parametrize("technique", WRONG)
def test_a_wrong_setting_is_told_at_its_field(studio, technique):
    settings, field, words = WRONG[technique]
    answer = submitted(studio, technique, [bring(studio)], **settings)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert words in answer.json()["error"]


def test_what_a_channel_looks_for_needs_no_picture(studio, tmp_path):
    objective = "Channel('layer2', 3)"
    found = done(
        studio,
        submitted(studio, "follow/class-visualization", [], objective=objective, preset="quick", steps=2),
    )
    assert found["settings"] == {"objective": objective, "preset": "quick", "steps": 2}
    (title,) = found["titles"]
    assert title.startswith(f"{objective} = ")
    program = found["python"].replace("class-visualization.png", str(tmp_path / "again.png"))
    exec(program, {})
    (file,) = (f for f in found["files"] if f["name"] == "class-visualization.png")
    with (
        Image.open(tmp_path / "again.png") as again,
        Image.open(io.BytesIO(studio.get(file["url"]).content)) as there,
    ):
        assert again.tobytes() == there.tobytes()
    assert shlex.split(found["command"])[3:5] == ["--objective", objective]
    for wrong, words in (
        ("Channel('layer9', 3)", "no layer"),
        ("Chanel('layer2', 3)", "did you mean 'Channel'"),
    ):
        answer = submitted(studio, "follow/class-visualization", [], objective=wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, "objective")
        assert words in answer.json()["error"]


def test_a_judge_is_one_of_the_networks_offered(studio):
    answer = submitted(studio, "follow/class-visualization", [], target=1, judge="efficientnet_lite0")
    assert (answer.status_code, answer.json()["field"]) == (422, "judge")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ([], 422, None),
        ({"technique": "show/saliency", "model": "resnet18", "pictures": []}, 422, "model"),
        ({"technique": "show/saliency", "pictures": []}, 422, "pictures"),
        ({"technique": "show/saliency", "pictures": ["../../etc/passwd"]}, 422, "pictures"),
        ({"technique": "show/saliency", "pictures": [7] * 9}, 422, "pictures"),
        ({"technique": ["show/saliency"]}, 422, "technique"),
        ({"technique": "show/saliency", "settings": []}, 422, None),
        ({"compare": ["show/filters"], "pictures": ["x"]}, 422, "pictures"),
        ({"compare": []}, 422, "compare"),
    ],
)
def test_what_is_no_job_is_refused(studio, body, status, field):
    answer = studio.post("/api/jobs", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_a_setting_that_only_the_picture_shows_to_be_wrong_is_told_at_its_field_too(studio):
    answer = submitted(studio, "show/occlusion", [bring(studio)], size=65)
    last = events(studio, answer.json()["id"])[-1][1]
    assert (last["state"], last["field"]) == ("failed", "size")
    assert "at most that of the picture, 64 px" in last["error"]


def test_a_job_that_is_over_tells_so_whoever_connects_again(studio):
    job = submitted(studio, "show/saliency", [bring(studio)]).json()["id"]
    first = events(studio, job)[-1]
    assert events(studio, job) == [first]
    assert studio.get(f"/api/jobs/{job}").json() == first[1]


# ---------------------------------------------------------------------- what is kept


def test_results_and_pictures_survive_a_restart(tmp_path):
    with opened(tmp_path) as client:
        picture = bring(client)
        found = done(client, submitted(client, "show/saliency", [picture]))
    with opened(tmp_path) as client:
        assert client.get(f"/api/results/{found['id']}").json() == found
        assert client.get(found["panels"][0]["url"]).status_code == 200
        assert client.get(f"/api/pictures/{picture}.png").status_code == 200
        assert client.get(f"/r/{found['id']}").status_code == 200
        missing = client.get(f"/r/{new_id()}")
        assert (missing.status_code, missing.headers["content-type"][:9]) == (404, "text/html")


def test_over_the_quota_the_longest_unused_goes(tmp_path):
    store, ids = Store(tmp_path, quota=10_000), [new_id() for _ in range(4)]
    for made in ids[:3]:
        store.add("results", made, {}, {"a.bin": bytes(3000)})
    store.use("results", ids[0])
    store.add("results", ids[3], {}, {"a.bin": bytes(3000)})
    assert [store.about("results", made) is not None for made in ids] == [True, False, True, True]
    assert Store(tmp_path, quota=4000).about("results", ids[0]) is None
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_where_the_disk_is_full_nothing_is_left(tmp_path, monkeypatch):
    store, made = Store(tmp_path), new_id()

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="this cannot be kept: no space left on device"):
        store.add("results", made, {}, {"a.bin": b"x"})
    assert [list((tmp_path / part).iterdir()) for part in ("new", "results")] == [[], []]
    assert store.about("results", made) is None


def test_a_full_disk_is_the_jobs_error(studio, monkeypatch):
    picture = bring(studio)

    def full(*_):
        raise OutputError("this cannot be kept: no space left on device")

    monkeypatch.setattr(Store, "add", full)
    last = events(studio, submitted(studio, "show/saliency", [picture]).json()["id"])[-1][1]
    assert (last["state"], last["error"]) == ("failed", "this cannot be kept: no space left on device")


# ---------------------------------------------------------------------- the command


def test_ctrl_c_ends_it_with_streams_open(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from pixelgrad.cli import main; main()",
        "studio",
        "--port",
        "0",
        "-m",
        MODEL,
    ]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        body = {"technique": "follow/class-visualization", "settings": {"target": 1, "steps": 100_000}}
        request = urllib.request.Request(
            f"{address}api/jobs", json.dumps(body).encode(), {"Origin": address.rstrip("/")}
        )
        with urllib.request.urlopen(request) as answer:
            job = json.load(answer)["id"]
        with urllib.request.urlopen(f"{address}api/jobs/{job}/events") as stream:
            assert stream.readline() == b"retry: 1000\n"
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=60)
    assert (server.returncode, out, err) == (0, "the studio is closed\n", "")


def test_the_command_says_what_is_wrong_before_it_serves(fails, here, monkeypatch):
    assert "no such file" in fails("studio", "none.png")
    assert "no model" in fails("studio", "--model", "resnet1")
    assert "at least 8 letters" in fails("studio", "--token", "short")
    assert "single --model" in fails("studio", "--weights", "w.safetensors")
    assert "has no units.json" in fails("studio", "--units", "nowhere")
    from pixelgrad.cli import studio as command

    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install 'pixelgrad[studio]'" in fails("studio")
