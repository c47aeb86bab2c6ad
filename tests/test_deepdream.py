"""DeepDream: its gradient, step and octaves by hand; guide, mask and flight; tiles; going on; films; bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import pixelgrad as pg
from pixelgrad import film, images, octaves, tiles
from pixelgrad.errors import Cancelled, ImageError, ModelError, NotFound, OutputError, SettingError
from pixelgrad.gradient import evaluate
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.logit import Logit
from pixelgrad.objectives.squared_norm import SquaredNorm
from pixelgrad.octaves import resized, sizes
from pixelgrad.registry import techniques
from pixelgrad.steps import MeanGradient
from pixelgrad.transforms import Draw, Roll, enlarged

SEED = 3


def make(**settings):
    return pg.make("follow/deepdream", **({"layer": "conv2", "steps": 3, "seed": SEED} | settings))


def photo(height=50, width=66, n=1):
    generator = torch.Generator().manual_seed(4)
    return torch.rand(n, 3, height, width, dtype=torch.float64, generator=generator)


def stop_at(step):
    def progress(now):
        if now.done == step:
            raise Cancelled

    return progress


# ---------------------------------------------------------------------- objective and step


def test_the_gradient_is_the_activations_sent_back(small, pixels):
    score, gradient, kept = evaluate(small, SquaredNorm("conv2"), pixels, ["conv2"])
    x = pixels.clone().requires_grad_()
    values = small.activations(x, ["conv2"])["conv2"]
    (sent_back,) = torch.autograd.grad(values, x, grad_outputs=values.detach())
    torch.testing.assert_close(gradient, sent_back, rtol=1e-10, atol=1e-12)
    by_hand = [sum(float(v) ** 2 for v in image.flatten()) / 2 for image in kept["conv2"]]
    assert score.tolist() == pytest.approx(by_hand, rel=1e-12)


def test_squared_norm_has_a_text_form_and_finds_its_layer(small):
    objective = make(layer=None, objective="SquaredNorm('conv2') + 0.5 * Channel('conv1', 3)").objective
    assert objective == SquaredNorm("conv2") + 0.5 * Channel("conv1", 3)
    assert SquaredNorm(str(0)).resolve(small) == SquaredNorm("conv1")
    with pytest.raises(SettingError, match=r"needs a layer: SquaredNorm\('NAME'\)"):
        SquaredNorm()


def test_a_step_moves_a_number_by_lr_on_average():
    z, g = torch.rand(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    moved, _ = MeanGradient(0.01).step(z, g, {}, 0)
    assert (moved - z).abs().mean((1, 2, 3)).tolist() == pytest.approx([0.01, 0.01])
    mean = sum(abs(float(v)) for v in g[1].flatten()) / 60
    torch.testing.assert_close(moved[1], z[1] + 0.01 * g[1] / mean, rtol=1e-13, atol=1e-15)


def test_jitter_goes_both_ways():
    x, random = torch.arange(81.0).reshape(1, 1, 9, 9), torch.Generator().manual_seed(0)
    seen = {tuple(torch.nonzero(Roll(2, -2)(x, Draw(random))[0, 0] == 40)[0].tolist()) for _ in range(400)}
    assert seen == {(i, j) for i in range(2, 7) for j in range(2, 7)}


# ---------------------------------------------------------------------- octaves, by hand


def steps_by_hand(model, x, count, lr, jitter, random):
    """The published loop at one size, with plain autograd on the module."""
    for _ in range(count):
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=random).tolist()
        rolled = torch.roll(x, (down, right), (2, 3)).requires_grad_()
        model.module.eval()
        h = model.module.conv1((rolled - 0.45) / 0.25)
        h = model.module.pool(torch.relu(model.module.bn1(h)))
        (g,) = torch.autograd.grad((model.module.conv2(h) ** 2).sum() / 2, rolled)
        moved = rolled.detach() + lr * g / g.abs().mean()
        x = torch.roll(moved, (-down, -right), (2, 3)).clamp(0, 1)
    return x


def test_one_octave_is_plain_ascent(small):
    x = photo()
    found = make(octaves=1, steps=6, jitter=5, lr=0.02).run(small, x)
    by_hand = steps_by_hand(small, x, 6, 0.02, 5, torch.Generator().manual_seed(SEED))
    torch.testing.assert_close(found.pixels, by_hand, rtol=0, atol=1e-12)
    assert found.report["octaves"] == [[50, 66]]
    assert found.report["gradients"] == 6
    assert float(found.score) == pytest.approx(
        float(evaluate(small, SquaredNorm("conv2"), found.pixels).score)
    )
    assert float(found.score) > found.report["images"][0]["score_before"]


def bilinear(x, size):
    """Resized as Pillow does it, by its formula: triangles as wide as the step, but at least as wide as a pixel."""
    for dim, new in zip((2, 3), size, strict=True):
        old = x.shape[dim]
        scale = old / new
        reach = max(scale, 1.0)
        weights = torch.zeros(new, old, dtype=x.dtype)
        for i in range(new):
            for j in range(old):
                weights[i, j] = max(0.0, 1 - abs(j + 0.5 - (i + 0.5) * scale) / reach)
        weights /= weights.sum(1, keepdim=True)
        x = torch.movedim(torch.movedim(x, dim, -1) @ weights.T, -1, dim)
    return x


def test_the_octaves_by_hand(small):
    x = photo(70, 93)
    found = make(octaves=3, steps=4, jitter=6, lr=0.02, ratio=1.4).run(small, x)
    random, detail = torch.Generator().manual_seed(SEED), None
    for size in ((36, 47), (50, 66), (70, 93)):
        base = bilinear(x, size)
        dream = base if detail is None else (base + bilinear(detail, size)).clamp(0, 1)
        dream = steps_by_hand(small, dream, 4, 0.02, 6, random)
        detail = dream - base
    assert found.report["octaves"] == [[36, 47], [50, 66], [70, 93]]
    torch.testing.assert_close(found.pixels, dream, rtol=0, atol=1e-10)


def test_sizes_grow_by_the_ratio_and_the_smallest_are_left_out():
    assert sizes((400, 600), 4, 1.4) == ((146, 219), (204, 306), (286, 429), (400, 600))
    assert sizes((64, 64), 4, 1.4) == ((33, 33), (46, 46), (64, 64))
    assert sizes((16, 900), 4, 1.4) == ((16, 900),)
    assert len(sizes((100, 100), 20, 1.01)) == 20


def test_octaves_that_the_network_does_not_take_are_left_out():
    module = nn.Sequential(nn.Conv2d(3, 4, 45), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wide = pg.Classifier(module.double(), name="wide")
    found = make(layer="0").run(wide, photo(70, 93))
    assert found.report["octaves"] == [[50, 66], [70, 93]]
    with pytest.raises(ModelError, match=r"wide fails on pixels of 1×3×40×60: .*Kernel size"):
        make(layer="0").run(wide, photo(40, 60))


@pytest.mark.parametrize("size", [(33, 47), (37, 300), (211, 40), (2, 500), (45, 45)])
def test_a_dream_has_the_pictures_size_and_range(small, size):
    found = make(steps=2, lr=0.5).run(small, photo(*size))
    assert found.pixels.shape == (1, 3, *size)
    assert float(found.pixels.min()) >= 0
    assert float(found.pixels.max()) <= 1
    assert found.report["gradients"] == 2 * len(found.report["octaves"])


# ---------------------------------------------------------------------- layers, channel, guide, mask


def test_what_dreams(small):
    x = photo()
    for short, long in [
        ({"layer": ("conv1", "conv2")}, "SquaredNorm('conv1') + SquaredNorm('conv2')"),
        ({"layer": ["conv2"]}, "SquaredNorm('conv2')"),
        ({"layer": "conv2", "channel": 3}, "Channel('conv2', 3)"),
    ]:
        found = make(**short).run(small, x)
        assert found.report["images"][0]["objective"] == long
        assert torch.equal(found.pixels, make(layer=None, objective=long).run(small, x).pixels)
    default = make(layer=None).run(small, x)
    assert default.report["images"][0]["objective"].startswith("SquaredNorm(")
    assert make(layer=None, objective=Logit("cat")).run(small, x).score.shape == (1,)


@pytest.fixture
def guide(tmp_path):
    images.to_image(torch.rand(3, 24, 16, generator=torch.Generator().manual_seed(9))).save(
        tmp_path / "g.png"
    )
    return str(tmp_path / "g.png")


def guided(model, guide):
    return make(guide=guide)._goal(model, images.open_image(guide, model))


@pytest.mark.parametrize("at_once", [1, 50, 10**6])
def test_the_guide_by_brute_force(small, pixels, guide, monkeypatch, at_once):
    monkeypatch.setattr("pixelgrad.follow.deepdream.AT_ONCE", at_once)
    score, gradient, kept = evaluate(small, guided(small, guide), pixels, ["conv2"])
    shown = small.preprocessing(images.read(guide)).double()
    target = small.activations(shown, ["conv2"])["conv2"][0].flatten(1).T.tolist()
    sent_back = torch.zeros_like(kept["conv2"])
    for i, values in enumerate(kept["conv2"]):
        total = 0.0
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                here = values[:, y, x].tolist()
                products = [sum(a * b for a, b in zip(here, q, strict=True)) for q in target]
                total += max(products)
                sent_back[i, :, y, x] = torch.tensor(
                    target[products.index(max(products))], dtype=torch.float64
                )
        assert float(score[i]) == pytest.approx(total, rel=1e-10)
    x = pixels.clone().requires_grad_()
    (expected,) = torch.autograd.grad(small.activations(x, ["conv2"])["conv2"], x, sent_back)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_guide_changes_the_dream(small, guide):
    found = make(guide=guide).run(small, photo())
    assert found.report["images"][0]["objective"] == f"guide {guide!r} at 'conv2'"
    assert found.score > found.report["images"][0]["score_before"]
    assert not torch.equal(found.pixels, make().run(small, photo()).pixels)


@pytest.fixture
def mask(tmp_path):
    """Black to the left, grey in the middle, white to the right; of another size than the pictures."""
    levels = torch.tensor([0.0] * 40 + [0.5] * 20 + [1.0] * 40).expand(3, 80, 100)
    images.to_image(levels).save(tmp_path / "mask.png")
    return str(tmp_path / "mask.png")


def test_where_the_mask_is_black_nothing_changes_bit_for_bit(small, mask):
    x = photo(70, 93)
    found = make(mask=mask, octaves=3).run(small, x)
    assert len(found.report["octaves"]) == 3
    assert torch.equal(found.pixels[..., :36], x[..., :36])
    moved = (found.pixels - x).abs().mean((0, 1, 2))
    assert bool((moved[40:] > 0).all())
    assert float(moved[57:].mean()) > 1.2 * float(moved[40:53].mean()) > 0


def test_a_mask_scales_the_steps(small, mask):
    x = 0.4 + 0.2 * photo()
    plain, masked = (make(octaves=1, steps=1, lr=1e-3, mask=m).run(small, x).pixels for m in (None, mask))
    share = resized(images.open_image(mask).double().mean(1, keepdim=True), (50, 66))
    torch.testing.assert_close(masked - x, share * (plain - x), rtol=0, atol=1e-12)


# ---------------------------------------------------------------------- going on, and the flight


def test_going_on_in_the_middle_of_any_octave_is_bit_for_bit_the_same(small, tmp_path):
    x, file = photo(70, 93), tmp_path / "part"
    technique = make(octaves=3, zoom=2)
    whole = technique.run(small, x, frames=1)
    for step in range(1, 15):
        part = technique.run(small, x, stop_at(step), file, 1)
        assert part.report["interrupted"] == part.report["gradients"] == step
        assert part.pixels.shape == x.shape
    found = technique.run(small, x, None, file, 1)
    assert torch.equal(found.pixels, whole.pixels)
    assert torch.equal(found.score, whole.score)
    assert len(found.frames) == len(whole.frames) == 3
    assert all(torch.equal(a, b) for a, b in zip(found.frames, whole.frames, strict=True))
    assert "interrupted" not in found.report


def test_interrupted_at_once_or_in_an_octave_it_is_the_picture_and_what_was_added(small):
    x = photo(70, 93)
    part = make(octaves=2).run(small, x, stop_at(2))
    small_dream = make(octaves=1, steps=2).run(small, resized(x, (50, 66))).pixels
    expected = (x + resized(small_dream - resized(x, (50, 66)), (70, 93))).clamp(0, 1)
    torch.testing.assert_close(part.pixels, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["guide", "mask"])
def test_a_checkpoint_is_of_one_guide_and_mask(small, tmp_path, kind):
    technique = make(**{kind: str(tmp_path / "p.png")})
    images.to_image(torch.rand(3, 20, 20)).save(tmp_path / "p.png")
    technique.run(small, photo(), stop_at(2), tmp_path / "part")
    images.to_image(torch.rand(3, 20, 20)).save(tmp_path / "p.png")
    with pytest.raises(SettingError, match="another run"):
        technique.run(small, photo(), None, tmp_path / "part")


def test_the_flight_goes_on_from_the_dream(small):
    x = photo()
    dream = make(octaves=2, steps=4).run(small, x).pixels
    found = make(octaves=2, steps=4, zoom=3).run(small, x, frames=40)
    assert len(found.frames) == 4
    assert found.report["gradients"] == 4 * (len(found.report["octaves"]) + 3)
    assert torch.equal(found.frames[0], (dream * 255).round().to(torch.uint8))
    assert torch.equal(found.frames[-1], (found.pixels * 255).round().to(torch.uint8))
    random = torch.Generator().manual_seed(SEED)
    for _ in range(4 * len(found.report["octaves"])):
        torch.randint(-32, 33, (2,), generator=random)
    second = steps_by_hand(small, enlarged(dream, octaves.ZOOM), 4, 0.006, 32, random)
    assert int((found.frames[1].int() - (second * 255).round().int()).abs().max()) <= 1
    assert make(octaves=2, zoom=3).run(small, x).frames == ()


def test_enlarged_keeps_the_middle():
    ramp = torch.linspace(-1, 1, 41, dtype=torch.float64).expand(1, 3, 41, 41)
    torch.testing.assert_close(enlarged(ramp, 1.25), ramp / 1.25, rtol=0, atol=1e-12)


# ---------------------------------------------------------------------- tiles


@pytest.mark.parametrize("side", [1, 31, 32, 511, 512, 513, 544, 1024, 1025, 3000, 4000, 9729, 20001])
def test_pieces_cover_a_side_evenly_and_begin_at_multiples(side):
    found = tiles.pieces(side)
    assert [i for piece in found for i in range(piece.start, piece.stop)] == list(range(side))
    lengths = [piece.stop - piece.start for piece in found]
    assert max(lengths) <= 512
    assert max(lengths) - min(lengths) < 64
    assert all(piece.start % 32 == 0 for piece in found)
    assert len(found) == -(-side // 512)


def near_seams(height, width, reach):
    """Where a seam between tiles is nearer than `reach`."""
    near = torch.zeros(height, width, dtype=torch.bool)
    for piece in tiles.pieces(height)[1:]:
        near[max(0, piece.start - reach) : piece.start + reach] = True
    for piece in tiles.pieces(width)[1:]:
        near[:, max(0, piece.start - reach) : piece.start + reach] = True
    return near


def test_tiles_change_no_gradient_away_from_the_seams(small, monkeypatch):
    x, objective = photo(130, 203, n=2), SquaredNorm("conv2")
    whole = evaluate(small, objective, x)
    monkeypatch.setattr(tiles, "SIDE", 64)
    found = tiles.evaluate_tiles(small, objective, x)
    near = near_seams(130, 203, 8)
    assert 0.3 < float(near.float().mean()) < 0.9
    torch.testing.assert_close(found.gradient[..., ~near], whole.gradient[..., ~near], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found.gradient, whole.gradient, rtol=1e-4)
    torch.testing.assert_close(tiles.score_tiles(small, objective, x), found.score, rtol=1e-12, atol=0)
    parts = [
        evaluate(small, objective, x[:, :, rows, columns]).score
        for rows in tiles.pieces(130)
        for columns in tiles.pieces(203)
    ]
    torch.testing.assert_close(found.score, sum(parts), rtol=1e-12, atol=0)


def test_tiles_of_a_real_network(monkeypatch):
    model = pg.load("efficientnet_lite0")
    model.module.double()
    x = F.interpolate(pg.open_image("sample:coffee").double(), (224, 320), mode="bilinear")
    whole = evaluate(model, SquaredNorm("blocks.1"), x)
    monkeypatch.setattr(tiles, "SIDE", 160)
    found = tiles.evaluate_tiles(model, SquaredNorm("blocks.1"), x)
    far = ~near_seams(224, 320, 40)
    difference = (found.gradient - whole.gradient)[..., far].norm() / whole.gradient[..., far].norm()
    assert float(difference) < 1e-4
    assert float(far.float().mean()) > 0.3


def test_a_picture_of_one_tile_is_taken_whole(small, pixels):
    found, whole = (f(small, SquaredNorm("conv2"), pixels) for f in (tiles.evaluate_tiles, evaluate))
    assert torch.equal(found.gradient, whole.gradient)
    assert torch.equal(found.score, whole.score)


def test_a_dream_in_tiles_moves_by_lr_over_the_whole_picture_and_its_seams_wander(small, monkeypatch):
    monkeypatch.setattr(tiles, "SIDE", 64)
    x = 0.4 + 0.2 * photo(70, 150)
    found = make(octaves=1, steps=1, lr=1e-3).run(small, x)
    assert float((found.pixels - x).abs().mean()) == pytest.approx(1e-3, rel=1e-3)
    technique, random = make(jitter=0), torch.Generator().manual_seed(0)
    ramp = torch.arange(150.0).expand(1, 3, 70, 150)
    shifts = {int(technique._rolled(ramp, Draw(random))[0, 0, 0, 0]) for _ in range(3000)}
    assert len(shifts) == 129
    assert torch.equal(technique._rolled(x[..., :64, :64], Draw(random)), x[..., :64, :64])
    tiled = make(octaves=2, steps=2)
    again = (tiled.run(small, x).pixels for _ in range(2))
    assert torch.equal(*again)


# ---------------------------------------------------------------------- films


@pytest.fixture
def dream(small):
    return make(octaves=3).run(small, photo(71, 93), frames=9)


def test_frames_of_every_octave_make_a_gif_of_the_dreams_size(dream, tmp_path):
    assert {tuple(frame.shape[-2:]) for frame in dream.frames} == {(36, 47), (51, 66), (71, 93)}
    dream.animate(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as moving:
        assert moving.size == (93, 71)
        assert moving.n_frames == 9


def test_frames_make_an_mp4(dream, tmp_path):
    pytest.importorskip("av")
    iio = pytest.importorskip("imageio.v3")
    dream.animate(tmp_path / "a.mp4", seconds=1)
    shown = iio.imread(tmp_path / "a.mp4", plugin="pyav")
    assert shown.shape == (20, 72, 94, 3)
    assert iio.immeta(tmp_path / "a.mp4", plugin="pyav")["duration"] == pytest.approx(2, abs=0.1)
    last = torch.from_numpy(shown[-1]).float().mean((0, 1)) / 255
    torch.testing.assert_close(last, dream.pixels[0].mean((1, 2)).float(), rtol=0, atol=0.03)


def test_an_mp4_without_the_extra_says_what_to_install(dream, tmp_path, monkeypatch):
    monkeypatch.setattr(film, "find_spec", lambda name: None if name == "av" else name)
    with pytest.raises(OutputError, match=r"a\.mp4: an \.mp4 needs the video extra: pip install"):
        dream.animate(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_long_film_is_not_faster_than_25_in_a_second(tmp_path):
    stills = [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(200)]
    (tmp_path / "a.gif").write_bytes(film.encode(stills, "a.gif", 4.0))
    with Image.open(tmp_path / "a.gif") as moving:
        moving.seek(1)
        assert moving.info["duration"] == 40


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("settings", "error", "words"), [
    ({"layer": "conv9"}, NotFound, "did you mean"),
    ({"objective": "Logit(1)"}, SettingError, "give layer or objective, not both"),
    ({"layer": None, "objective": "Logit(1)", "guide": "x"}, SettingError, "give guide or objective"),
    ({"channel": 3, "guide": "sample:cat"}, SettingError, "give channel or guide, not both"),
    ({"channel": 99}, NotFound, "conv2 has channels 0 to 11"),
    ({"zoom": 3, "mask": "x"}, SettingError, "give mask or zoom, not both"),
    ({"ratio": 1.0}, SettingError, "ratio is from 1.01 to 10; got 1.0"),
    ({"octaves": 0}, SettingError, "octaves is from 1 to 20; got 0"),
    ({"guide": "none.png"}, ImageError, "no such file: none.png"),
    ({"mask": "none.png"}, ImageError, "no such file: none.png"),
    ({"layer": "fc", "guide": "sample:cat"}, SettingError, r"layer 'fc' gives \(5,\) per image"),
    ({"layer": ()}, SettingError, "layer is the name of a layer"),
])  # fmt: skip
def test_bad_input_is_said(small, settings, error, words):
    with pytest.raises(error, match=words):
        make(**settings).run(small, photo())


def test_a_black_mask_is_said(small, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "m.png")
    with pytest.raises(SettingError, match=r"m\.png is black everywhere: nothing would dream"):
        make(mask=str(tmp_path / "m.png")).run(small, photo())


def test_a_layer_that_is_dead_is_said(small):
    small.module.conv1.bias.data[:] = -1e4
    with pytest.raises(ModelError, match=r"SquaredNorm\('relu'\) on small is zero everywhere after 0 steps"):
        make(layer="relu").run(small, photo())


def test_it_needs_a_photograph_at_its_own_size(small):
    cls = techniques()["follow/deepdream"]
    assert cls.one_by_one
    assert cls().own_size
    with pytest.raises(ModelError, match="pixels are a tensor"):
        make().run(small, torch.rand(3, 40, 40))
    with pytest.raises(ModelError, match="no images"):
        make().run(small, photo(n=0))


# ---------------------------------------------------------------------- the command line


def test_from_a_shell(tmp_path, monkeypatch, capsys):
    from pixelgrad import cli

    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["pixelgrad", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    images.to_image(photo(70, 93)[0]).save("p.png")
    quick = ("--model", "tinynet", "--steps", "2", "--layer", "layer2", "--layer", "layer4")
    code, out, err = run("follow", "deepdream", "p.png", *quick, "--gif", "p.gif", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)["report"]
    assert report["octaves"] == [[36, 47], [50, 66], [70, 93]]
    assert report["images"][0]["objective"] == "SquaredNorm('layer2') + SquaredNorm('layer4')"
    with Image.open("p-deepdream.png") as picture, Image.open("p.gif") as moving:
        assert picture.size == moving.size == (93, 70)
    assert run("redo", "p-deepdream.png")[0] == 0
    assert Path("p-deepdream-redo.png").read_bytes() == Path("p-deepdream.png").read_bytes()
    code, out, err = run("follow", "deepdream", "p.png", "--ratio", "1")
    assert code == 2
    assert "ratio" in err
