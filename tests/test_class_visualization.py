"""Class visualization: its presets as published, what it reports, animations, the command line, and bad input."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import nn

import pixelgrad as pg
from pixelgrad import cli, images
from pixelgrad.canvases import FourierCanvas
from pixelgrad.errors import Cancelled, ImageError, ModelError, NotFound, OutputError, SettingError
from pixelgrad.objectives.channel import Channel
from pixelgrad.objectives.energy import Energy
from pixelgrad.objectives.logit import Logit
from pixelgrad.objectives.variation import Variation
from pixelgrad.presets import PRESETS, crops
from pixelgrad.steps import Adam, NormalizedGradient
from pixelgrad.transforms import Draw, Noise, Turn

NAME = "follow/class-visualization"


def make(**settings):
    return pg.make(NAME, **({"steps": 3, "target": 1} | settings))


# ---------------------------------------------------------------------- objectives


def test_energy_is_in_the_networks_units(small):
    x = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    by_hand = [float((((i - 0.45) / 0.25) ** 2).sum()) for i in x]
    objective = Energy(None, None).resolve(small)
    assert objective({"pixels": x}).tolist() == pytest.approx(by_hand, rel=1e-12)
    plain = Energy(None, None)({"pixels": x})
    assert plain.tolist() == pytest.approx([float((i**2).sum()) for i in x], rel=1e-12)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_variation_by_hand(beta):
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    by_hand = []
    for image in x:
        total = 0.0
        for colour in image.tolist():
            for i in range(3):
                for j in range(4):
                    right, down = colour[i][j + 1] - colour[i][j], colour[i + 1][j] - colour[i][j]
                    total += (right**2 + down**2) ** (beta / 2)
        by_hand.append(total)
    assert Variation(beta)({"pixels": x}).tolist() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_a_flat_picture_has_no_variation_and_a_finite_gradient(beta):
    x = torch.full((1, 3, 4, 4), 0.3, dtype=torch.float64, requires_grad=True)
    score = Variation(beta)({"pixels": x})
    assert float(score.detach()) < 1e-4
    score.sum().backward()
    assert bool((x.grad == 0).all())


# ---------------------------------------------------------------------- presets


def test_the_presets_are_those_that_were_published():
    course, lucid, maco = (PRESETS[name] for name in ("course", "lucid", "maco"))
    assert course.rule == NormalizedGradient(25)
    assert (course.steps, course.l2, course.jitter, course.blur) == (100, 1e-3, 16, 0.5)
    assert lucid.rule == Adam(0.05)
    assert (lucid.steps, lucid.jitter, lucid.scale, lucid.rotation) == (512, 12, 0.1, 10)
    assert maco.rule == Adam(1.0, nesterov=True)
    assert (maco.steps, maco.noise) == (256, 0.08)


def test_quick_is_lucid_with_few_steps_on_small_pictures():
    quick = PRESETS["quick"]
    assert replace(quick, steps=512, widest=None) == PRESETS["lucid"]
    torch.manual_seed(0)
    any_size = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one_size = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 28**2, 5))
    for module, size, expected in ((any_size, 224, 128), (one_size, 224, 224), (any_size, 96, 96)):
        assert quick.size(pg.Classifier(module.eval(), size=size)) == (expected, expected)


def test_lucid_moves_by_8_turns_and_moves_by_4():
    assert PRESETS["lucid"].transform((224, 224)).parts == (Turn(0.1, 10, 8, 4), Noise(0))


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_network_is_shown_has_its_size(preset):
    x = torch.rand(2, 3, 56, 48)
    seen = (24, 28) if preset == "maco" else (56, 48)
    shown = PRESETS[preset].at(48).transform((24, 28))(x, Draw(torch.Generator()))
    assert shown.shape[-2:] == seen
    assert len(shown) % 2 == 0


def test_settings_replace_those_of_the_preset(small):
    technique = make(preset="course", steps=7, l2=0.5, jitter=2, blur=0.0, variation=0.25)
    found = technique._preset(224)
    expected = replace(PRESETS["course"], steps=7, l2=0.5, jitter=2, blur=0.0, variation=0.25)
    assert found == expected
    assert found.objective(Logit((1,))) == Logit((1,)) - 0.5 * Energy(None, None) - 0.25 * Variation(2.0)
    assert PRESETS["robust"].at(56).jitter == 12


@pytest.mark.parametrize("preset", PRESETS)
def test_the_score_rises_and_pictures_are_in_range(small, preset):
    found = make(preset=preset, steps=20, size=16, l2=0).run(small)
    start = make(preset=preset, steps=1, size=16, l2=0).run(small)
    assert float(found.score) > float(start.score)
    assert found.pixels.shape == (1, 3, 16, 16)
    assert 0 <= float(found.pixels.min()) < float(found.pixels.max()) <= 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_of_low_precision(preset, dtype):
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    model = pg.Classifier(module.to(dtype), size=16)
    found = make(target=1, preset=preset, steps=2, size=16).run(model)
    assert found.pixels.dtype == torch.float32
    assert found.pixels.shape == (1, 3, 16, 16)


def test_the_seed_is_what_the_noise_comes_from(small):
    one, again, other = (make(seed=seed).run(small).pixels for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_maco_takes_twice_the_networks_size_and_the_spectrum_of_the_photographs(small, tmp_path):
    default = make(preset="maco", steps=1).run(small)
    assert default.pixels.shape == (1, 3, 32, 32)
    assert default.report["gradients"] == 8
    ramp = torch.linspace(0, 1, 50).expand(3, 40, 50)
    images.save(images.to_image(ramp), tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    own = make(preset="maco", steps=1, spectrum=str(tmp_path)).run(small)
    # from top to bottom nothing changes in the photograph, so nothing can in the picture
    uneven = [float((x[..., 1:, :] - x[..., :-1, :]).abs().max()) for x in (own.pixels, default.pixels)]
    assert uneven[0] < 1e-6 < 0.1 < uneven[1]


def test_crops_are_ten_of_each_photograph():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8))
    found = crops([photo, photo], torch.zeros(1, 3, 20, 24))
    assert found.shape == (20, 3, 20, 24)
    assert torch.equal(found[0], found[6].flip(-1))  # a corner of the picture and of its mirror image


# ---------------------------------------------------------------------- report


def test_the_report_is_of_the_picture_as_saved(small, tmp_path):
    found = make(target="cat", steps=30).run(small)
    found.save(tmp_path / "cat.png")
    with torch.no_grad():
        logits = small(pg.open_image(tmp_path / "cat.png"))[0]
    (fact,) = found.report["images"]
    assert fact["score"] == float(found.score[0]) == pytest.approx(float(logits[2]), rel=1e-6)
    assert fact["class"] == "cat"
    assert fact["class_probability"] == pytest.approx(float(logits.softmax(0)[2]), rel=1e-6)
    assert found.report["gradients"] == 30
    with Image.open(tmp_path / "cat.png") as saved:
        assert saved.size == (16, 16)  # the picture itself, without a frame


def test_a_picture_of_another_size_is_judged_as_the_networks_users_see_it(small, tmp_path):
    found = make(size=40).run(small)
    found.save(tmp_path / "a.png")
    with torch.no_grad():
        logits = small(pg.open_image(tmp_path / "a.png", small))[0]
    assert float(found.score[0]) == pytest.approx(float(logits[1]), rel=1e-6)


def test_a_judge_says_rank_and_probability(small, monkeypatch):
    judge = pg.Classifier(nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, 5)))
    judge.labels, judge.name = ("eel", "dog", "cat", "bee", "ant"), "other"
    asked = []
    module = sys.modules["pixelgrad.follow.class_visualization"]
    monkeypatch.setattr(module, "load", lambda *a: asked.append(a) or judge)
    found = make(target=("ant", "bee"), judge="other", judge_weights="w").run(small)
    assert asked == [("other", "w", small.device)]
    for i, y in ((0, 4), (1, 3)):
        with torch.no_grad():
            logits = judge((found.pixels[i : i + 1].float() * 255).round() / 255)[0]
        fact = found.report["images"][i]
        assert fact["judge_rank"] == 1 + logits.argsort(descending=True).tolist().index(y)
        assert fact["judge_probability"] == pytest.approx(float(logits.softmax(0)[y]), rel=1e-5)
        assert "; other " in found.titles[i]


def test_several_classes_are_a_titled_grid(small):
    found = make(target=("ant", "bee", "cat", "dog", "eel")).run(small)
    assert [t.split()[0] for t in found.titles] == ["ant", "bee", "cat", "dog", "eel"]
    three, one = found.image().width, make().run(small).image().width
    assert three > 3 * one
    assert found.image().height > 2 * one


def test_interrupted_it_has_the_picture_so_far(small, tmp_path):
    def stop(now):
        if now.done == 2:
            raise Cancelled

    part = make(steps=6).run(small, progress=stop, checkpoint=tmp_path / "part")
    assert part.report["interrupted"] == part.report["gradients"] == 2
    found = make(steps=6).run(small, checkpoint=tmp_path / "part")
    assert torch.equal(found.pixels, make(steps=6).run(small).pixels)
    assert "interrupted" not in found.report
    make(steps=6).run(small, progress=stop, checkpoint=tmp_path / "part")
    with pytest.raises(SettingError, match="another run"):
        make(steps=6, seed=1).run(small, checkpoint=tmp_path / "part")


@pytest.mark.parametrize("target", [1, ("ant", "bee")])
def test_frames_make_an_animation(small, tmp_path, target):
    found = make(target=target, steps=9).run(small, frames=3)
    assert len(found.frames) == 3
    found.animate(tmp_path / "a.gif", seconds=1.0)
    with Image.open(tmp_path / "a.gif") as moving:
        stills = [frame.convert("RGB").copy() for frame in ImageSequence.Iterator(moving)]
        assert moving.info["loop"] == 0
    assert len(stills) == 3
    if target == 1:
        assert stills[0].size == (16, 16)
    assert stills[0].tobytes() != stills[-1].tobytes()
    with pytest.raises(OutputError, match="an animation is a \\.gif or an \\.mp4"):
        found.animate(tmp_path / "a.webm")


# ---------------------------------------------------------------------- objectives in place of a class


def raised(objective, **settings):
    return pg.make(NAME, **({"objective": objective, "preset": "quick"} | settings))


@pytest.mark.parametrize("channel", [0, 3])
def test_a_channel_rises_far_above_noise(channel):
    model = pg.load("tinynet")
    objective = Channel("layer2", channel)
    found = raised(objective).run(model)
    assert found.pixels.shape == (1, 3, 64, 64)
    noise = FourierCanvas(torch.zeros(64, 3, 64, 64), 5)
    with torch.no_grad():
        start = noise.pixels(noise.start(), torch.arange(64))
    natural = pg.open_images(["sample:cat", "sample:coffee", "sample:astronaut"], model)
    values = [model.activations(x, ["layer2"])["layer2"][:, channel].mean((1, 2)) for x in (start, natural)]
    assert float(found.score) > float(values[0].mean() + 20 * values[0].std())
    assert float(found.score) > float(torch.cat(values).max())


def test_the_title_names_the_objective_and_its_score_is_of_the_picture_as_saved(small, tmp_path):
    objective = Channel("conv2", 3) - 2 * Channel("conv2", 1)
    found = raised(objective).run(small)
    found.save(tmp_path / "a.png")
    saved = pg.open_image(tmp_path / "a.png").double()
    values = small.activations(saved, ["conv2", "logits"])
    by_hand = (values["conv2"][0, 3] - 2 * values["conv2"][0, 1]).mean()
    (fact,) = found.report["images"]
    assert fact["score"] == float(found.score) == pytest.approx(float(by_hand), rel=1e-6)
    assert fact["predicted"] == small.labels[int(values["logits"][0].argmax())]
    assert "class" not in fact
    assert found.titles == (f"Channel('conv2', 3) - 2 * Channel('conv2', 1) = {fact['score']:.4g}",)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_logit_is_the_class(small, preset):
    (one, other) = (
        pg.make(NAME, preset=preset, steps=4, size=16, **goal).run(small)
        for goal in ({"target": "cat"}, {"objective": "Logit('cat')"})
    )
    assert torch.equal(one.pixels, other.pixels)
    assert one.titles == other.titles
    assert one.report["images"] == other.report["images"]


class Dead(nn.Module):
    """A channel whose rectifier lets nothing pass of pictures that are grey on average, and 0.4 of white ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.fc = nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Linear(2, 2)
        self.conv.weight.data[1] = 1 / 27
        self.conv.bias.data[1] = -0.6

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


def test_a_channel_that_is_dead_at_the_start_gets_going():
    model = pg.Classifier(Dead().eval(), size=16, name="dead")
    start = raised(Channel("act", 1), steps=1).run(model)
    assert float(start.score) == 0
    assert not pg.gradient(model, Channel("act", 1), start.pixels)[1].any()
    found = raised(Channel("act", 1), steps=128).run(model)
    assert float(found.score) > 0.1


def test_another_objective_is_another_run(small, tmp_path):
    def stop(now):
        if now.done == 2:
            raise Cancelled

    first, other = (raised(Channel("conv2", c), steps=6) for c in (3, 4))
    first.run(small, progress=stop, checkpoint=tmp_path / "part")
    with pytest.raises(SettingError, match="another run"):
        other.run(small, checkpoint=tmp_path / "part")
    found = first.run(small, checkpoint=tmp_path / "part")
    assert torch.equal(found.pixels, first.run(small).pixels)


@pytest.mark.parametrize(("settings", "error", "words"), [
    ({"target": 1}, SettingError, "give target or objective, not both"),
    ({"judge": "tinynet"}, SettingError, "judge looks for the class of a target; an objective has none"),
    ({"objective": "Channel('conv9', 1)"}, NotFound, "no layer 'conv9'"),
    ({"objective": "Channel('conv2', 12)"}, NotFound, "conv2 has channels 0 to 11"),
    ({"objective": "Logit(('cat', 'dog'))"}, SettingError, "2 targets for 1 images"),
    ({"objective": 3}, SettingError, "objective is one like Logit"),
])  # fmt: skip
def test_a_bad_objective_is_said(small, settings, error, words):
    with pytest.raises(error, match=words):
        raised(settings.pop("objective", Channel("conv2", 1)), **settings).run(small)


def test_an_objective_and_pictures_exclude_each_other(small, pixels):
    with pytest.raises(SettingError, match="give pictures only in place of a target or objective"):
        raised(Channel("conv2", 1)).run(small, pixels)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("settings", "error", "words"), [
    ({"preset": "corse"}, SettingError, "preset is one of robust, course, lucid, maco, quick; got 'corse'"),
    ({"steps": 0}, SettingError, "steps is from 1 to 100000; got 0"),
    ({"size": 4}, SettingError, "size is from 8 to 2048 px; got 4"),
    ({"blur": 1.0}, SettingError, "blur is of pixels, preset course; robust follows a spectrum"),
    ({"spectrum": "x"}, SettingError, "spectrum is of preset maco; robust has none"),
    ({"judge_weights": "x"}, SettingError, "judge_weights are of a judge"),
    ({"jitter": 17}, SettingError, "jitter is at most the side of the picture, 16 px; got 17"),
    ({"target": None}, SettingError, "needs a target, the name or index of a class, or an objective"),
    ({"target": ()}, SettingError, "needs a target"),
    ({"target": "catt"}, NotFound, "did you mean 'cat'"),
    ({"target": 5}, NotFound, "the classes of small are 0 to 4"),
    ({"target": (0, 5)}, NotFound, "the classes of small are 0 to 4"),
    ({"preset": "maco", "spectrum": "/nowhere"}, ImageError, "/nowhere is no folder with pictures"),
    ({"judge": "nonsense"}, NotFound, "no model 'nonsense'"),
])  # fmt: skip
def test_bad_input_is_said(small, settings, error, words):
    with pytest.raises(error, match=words):
        make(**settings).run(small)


def test_a_target_and_pictures_exclude_each_other(small, pixels):
    with pytest.raises(SettingError, match="give pictures only in place of a target"):
        make().run(small, pixels)


def test_a_target_out_of_range_without_labels(small):
    small.labels = None
    with pytest.raises(NotFound, match="the classes are 0 to 4"):
        make(target=7).run(small)


def test_a_picture_smaller_than_the_network_takes_is_said():
    module = nn.Sequential(nn.Conv2d(3, 4, 11), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match=r"fails on pixels of 1×3×8×8: .*Kernel size"):
        make(size=8).run(pg.Classifier(module, name="wide"))


# ---------------------------------------------------------------------- the command line


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pixelgrad", "follow", "class-visualization", *map(str, args)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return command


SMALL = ("--size", "32", "--steps", "4")


def test_targets_are_given_one_by_one_and_no_picture_is_needed(run):
    code, out, _ = run("--target", "tarantula", "--target", "sports car", *SMALL)
    assert code == 0
    assert out.splitlines()[-1] == "wrote class-visualization.png"
    assert [line.rpartition(" ")[0] for line in out.splitlines()[:2]] == ["tarantula", "sports car"]
    recipe = images.recipe("class-visualization.png")
    assert recipe["settings"]["target"] == ["tarantula", "sports car"]
    assert recipe["images"] == []


def test_redo_makes_it_again_without_a_picture(run, monkeypatch):
    assert run("--target", "76", "-o", "a.png", *SMALL)[0] == 0
    monkeypatch.setattr(sys, "argv", ["pixelgrad", "redo", "a.png"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert Path("a-redo.png").read_bytes() == Path("a.png").read_bytes()


def test_a_channel_and_its_redo(run, monkeypatch):
    objective = "Channel('blocks.2', 12)"
    code, out, _ = run("--objective", objective, "-o", "a.png", *SMALL)
    assert code == 0
    assert out.splitlines()[0].startswith(f"{objective} = ")
    assert images.recipe("a.png")["settings"] == {"objective": objective, "size": 32, "steps": 4}
    monkeypatch.setattr(sys, "argv", ["pixelgrad", "redo", "a.png"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert Path("a-redo.png").read_bytes() == Path("a.png").read_bytes()


def test_a_photograph_names_the_class(run):
    code, out, _ = run("sample:cat", "--json", *SMALL)
    assert code == 0
    assert json.loads(out)["report"]["images"][0]["class"] == "tiger cat"


def test_gif_is_written(run):
    assert run("--target", "76", "--gif", "a.gif", "-o", "a.png", *SMALL)[0] == 0
    with Image.open("a.gif") as moving:
        assert moving.size == (32, 32)
        assert moving.n_frames > 1


@pytest.fixture
def interrupted_at(monkeypatch):
    """Lets Ctrl-C be pressed after a step."""

    def arrange(step: int | None) -> None:
        @contextmanager
        def working(_):
            def progress(now):
                if now.done == step:
                    raise KeyboardInterrupt

            yield progress

        monkeypatch.setattr("pixelgrad.cli.make.working", working)

    return arrange


def test_interrupted_it_saves_says_where_and_goes_on(run, interrupted_at):
    command = ("--target", "76", *SMALL, "-o")
    assert run(*command, "whole.png")[0] == 0
    interrupted_at(2)
    code, out, err = run(*command, "a.png")
    assert code == 130
    assert "wrote a.png" in out
    assert err == (
        "interrupted after step 2: a.png is the best so far; the same command with --resume goes on\n"
    )
    assert Path("a.png.part").is_file()
    assert Path("a.png").read_bytes() != Path("whole.png").read_bytes()
    interrupted_at(None)
    assert run(*command, "a.png", "--resume")[0] == 0
    assert Path("a.png").read_bytes() == Path("whole.png").read_bytes()
    assert sorted(p.name for p in Path().iterdir()) == ["a.png", "whole.png"]


def test_without_resume_it_starts_again(run, interrupted_at):
    interrupted_at(2)
    assert run("--target", "76", "-o", "a.png", *SMALL)[0] == 130
    interrupted_at(None)
    assert run("--target", "130", "-o", "a.png", *SMALL)[0] == 0
    assert not Path("a.png.part").exists()


@pytest.mark.parametrize(("args", "words"), [
    (("--target", "76", "--resume"), "there is nothing to resume: no class-visualization.png.part"),
    ((), "follow/class-visualization needs a target"),
    (("--target", "tarantla"), "did you mean 'tarantula'"),
    (("--objective", "Channel('blocks.77')"), "no layer 'blocks.77'"),
    (("--objective", "Logit(1)", "--target", "76"), "give target or objective, not both"),
    (("sample:cat", "--objective", "Logit(1)"), "give pictures only in place of a target or objective"),
    (("--target", "76", "-o", "none/a.png"), "none/a.png cannot be written: no such folder"),
    (("--target", "76", "--gif", "a.webm"), "a.webm: an animation is a .gif or an .mp4"),
    (("--target", "76", "--gif", "none/a.gif"), "none/a.gif cannot be written: no such folder"),
    (("--target", "76", "-o", "a.xyz"), "a.xyz has the ending .xyz; .apng"),
])  # fmt: skip
def test_bad_input_is_one_line(run, args, words):
    code, out, err = run(*args)
    assert code == 1
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert not list(Path().iterdir())  # and it did not take the time of 256 steps


def test_an_interrupted_redo_is_no_success(run, interrupted_at, monkeypatch):
    assert run("--target", "76", "-o", "a.png", *SMALL)[0] == 0
    interrupted_at(2)
    monkeypatch.setattr(sys, "argv", ["pixelgrad", "redo", "a.png"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
