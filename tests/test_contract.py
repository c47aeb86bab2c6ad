"""What every technique promises, for all that are registered, on a network that breaks naive tools and on tinynet."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import torch

import pixelgrad as pg
from pixelgrad.errors import ModelError, SettingError
from pixelgrad.registry import Setting, settings, techniques
from tests.test_classifier import same, state_of

NAMES = list(techniques())
EXTRAS = {"show/segmentation": "cv2"}  # what a technique needs that an install may lack
# what a technique does many times it does a few times here; these are settings like any other
QUICK = {"steps": 4, "samples": 4, "points": 4, "tolerance": 0.1}
SQUARES = {"size": 12, "stride": 10}


@pytest.fixture(params=NAMES)
def name(request):
    if module := EXTRAS.get(request.param):
        pytest.importorskip(module, reason=f"{request.param} needs {module}, an extra")
    return request.param


def make(name):
    """The technique with its defaults, but that one that does a thing many times does it a few times."""
    names = [s.name for s in settings(techniques()[name])]
    quick = QUICK | (SQUARES if "stride" in names else {})
    return pg.make(name, **{key: value for key, value in quick.items() if key in names})


def test_name_is_the_path_of_the_file(name):
    cls = techniques()[name]
    assert cls.__module__ == "pixelgrad." + name.replace("/", ".").replace("-", "_")
    assert pg.make(name) == cls()


def test_everything_is_explained(name):
    cls = techniques()[name]
    assert cls.__doc__
    assert "(" in __import__(cls.__module__, fromlist=["_"]).__doc__, "the source is missing"
    for s in settings(cls):
        assert s.help, s.name
        if s.kind in (int, float):
            assert s.lo is not None or s.hi is not None, f"{s.name} has no range"


@pytest.fixture(scope="module")
def tinynet():
    """One for all tests: what is measured of a network, such as receptive fields, is measured once."""
    model = pg.load("tinynet")
    model.module.double()
    return model


@pytest.fixture(params=["small", "tinynet"])
def network(request, small, tinynet):
    """In float64, where results that should be the same are so to ten digits."""
    if request.param == "small":
        yield small
        return
    weights = {name: value.clone() for name, value in tinynet.module.state_dict().items()}
    yield tinynet
    tinynet.module.load_state_dict(weights)


@pytest.fixture
def pictures(network, pixels):
    """Pictures of the network's size."""
    if network.name == "small":
        return pixels
    names = [f"sample:{name}" for name in ("cat", "coffee")]
    return pg.open_images(names, network).double()


@pytest.fixture(scope="module")
def made():
    """What was made of all the pictures, by technique and network."""
    return {}


@pytest.fixture
def whole(name, network, pictures, made):
    """The result with all the pictures, made once for the tests that look at it or compare others with it."""
    key = name, network.name
    if key not in made:
        made[key] = make(name).run(network, pictures)
    return made[key]


@pytest.fixture
def without(name, network):
    """The result without a picture, of a technique whose default settings need none: it is of the network alone."""
    if not techniques()[name].needs_pixels:
        with suppress(SettingError):
            return make(name).run(network)
    return None


def test_shapes_and_report(name, network, pictures, whole, without):
    found = whole
    n, _, h, w = pictures.shape
    if without is not None:
        n = len(without.pixels)
    if found.draw is None:
        assert found.pixels.shape in [(n, h, w), (n, 3, h, w)]
    assert len(found.pixels) == n
    assert found.score.shape == (n,)
    assert found.pixels.isfinite().all()
    assert found.score.isfinite().all()
    assert not found.pixels.requires_grad
    assert found.technique == make(name)
    assert found.model == network.name
    assert found.report["gradients"] >= 0
    assert found.report["seconds"] > 0
    json.dumps(dict(found.report))


def test_repeatable(name, network, pictures, whole):
    again = make(name).run(network, pictures)
    assert torch.equal(again.pixels, whole.pixels)
    assert torch.equal(again.score, whole.score)


def test_independent_of_batch_mates(name, network, pictures, whole, without):
    if without is not None:
        assert torch.equal(whole.pixels, without.pixels)
        assert torch.equal(whole.score, without.score)
        return
    for i in range(len(pictures)):
        alone = make(name).run(network, pictures[i : i + 1])
        torch.testing.assert_close(alone.pixels[0], whole.pixels[i], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(alone.score[0], whole.score[i], rtol=1e-10, atol=1e-12)


def test_independent_of_the_cut(name, network, pictures, whole, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules["pixelgrad.gradient"].TOGETHER, "cpu", 1e-9)
    seen = []
    cut = make(name).run(network, pictures, seen.append)
    torch.testing.assert_close(cut.pixels, whole.pixels, rtol=1e-10, atol=1e-12)
    assert seen[-1].done == seen[-1].total


def test_input_and_module_untouched(name, network, pictures):
    before, state = pictures.clone(), state_of(network.module.train())
    make(name).run(network, pictures)
    assert torch.equal(pictures, before)
    assert same(state, state_of(network.module))


def test_module_untouched_after_a_failure(name, network, pictures):
    state = state_of(network.module.train())

    def stop(_):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        make(name).run(network, pictures, stop)
    assert same(state, state_of(network.module))


def test_numbers_that_are_not_finite_are_said(name, network, pictures):
    for weight in network.module.parameters():  # also of the first layer, for what does not go deeper
        weight.data[:] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        make(name).run(network, pictures)


def test_bad_pixels_are_said(name, network):
    with pytest.raises(ModelError, match="pixels are"):
        make(name).run(network, torch.rand(3, 8, 8))


def test_saved_picture_carries_the_recipe(whole, tmp_path):
    found = whole
    found.save(tmp_path / "a.png", raw=True)
    from safetensors.torch import load_file

    from pixelgrad import images

    recipe = images.recipe(tmp_path / "a.png")
    assert recipe == json.loads(json.dumps(found.recipe()))
    assert pg.make(recipe["technique"], **recipe["settings"]) == found.technique
    raw = load_file(tmp_path / "a.safetensors")
    assert torch.equal(raw["pixels"], found.pixels)
    assert found._repr_png_().startswith(b"\x89PNG")
    assert "data:image/png;base64," in found.to_html()


def test_without_pixels(name, small):
    cls = techniques()[name]
    if cls.needs_pixels:
        with pytest.raises(SettingError, match="looks at a picture"):
            make(name).run(small)
        return
    if "target" not in [s.name for s in settings(cls)]:
        assert len(make(name).run(small).pixels) > 0
        return
    found = pg.make(name, steps=2, target=(1, "bee", 4)).run(small)
    assert found.pixels.shape == (3, 3, 16, 16)
    assert [f["class"] for f in found.report["images"]] == ["bee", "bee", "eel"]
    assert torch.equal(found.pixels[0], found.pixels[1])


def check(kind, value, **about):
    fields = {"default": 1, "help": "", "lo": None, "hi": None, "unit": "", "choices": (), "text": False}
    Setting("x", kind, **(fields | about)).check(value)


@pytest.mark.parametrize(("kind", "about", "value", "message"), [
    (int, {"lo": 1}, 0, "x is at least 1; got 0"),
    (int, {"hi": 3, "lo": 0, "unit": "px"}, 4, "x is from 0 to 3 px; got 4"),
    (int, {}, 1.5, "x is a whole number"),
    (int, {}, True, "x is a whole number"),
    (int, {}, None, "x is a whole number"),
    (float, {"hi": 1}, 1.01, "x is at most 1"),
    (float, {}, float("nan"), "x is a number"),
    (float, {}, "1", "x is a number"),
    (bool, {}, 1, "x is true or false"),
    (str, {"choices": ("a", "b")}, "c", "x is one of a, b; got 'c'"),
])  # fmt: skip
def test_a_setting_out_of_its_range(kind, about, value, message):
    with pytest.raises(SettingError, match=message):
        check(kind, value, **about)


@pytest.mark.parametrize(("kind", "about", "value"), [
    (int, {"lo": 1}, 1), (float, {"hi": 1}, 1), (float, {}, 2), (bool, {}, False),
    (str, {"choices": ("a",)}, "a"), (int, {"default": None}, None),
])  # fmt: skip
def test_a_setting_in_its_range(kind, about, value):
    check(kind, value, **about)


@pytest.mark.parametrize(("name", "values", "message"), [
    ("show/salency", {}, "no technique 'show/salency'; did you mean 'show/saliency'?"),
    ("show/saliency", {"traget": 1}, "no setting of show/saliency 'traget'; did you mean 'target'?"),
])  # fmt: skip
def test_make_offers_the_nearest(name, values, message):
    with pytest.raises(pg.PixelgradError) as caught:
        pg.make(name, **values)
    assert str(caught.value).startswith(message)
