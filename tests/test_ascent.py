"""The loop that follows a gradient: its rules against torch's, the course's update, stopping, going on, giving up."""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import pixelgrad as pg
from pixelgrad import ascent, images
from pixelgrad.ascent import Verdict, ascend
from pixelgrad.canvases import FourierCanvas, PixelCanvas
from pixelgrad.errors import Cancelled, ModelError, OutputError, SettingError
from pixelgrad.gradient import Work, evaluate
from pixelgrad.objectives.energy import Energy
from pixelgrad.objectives.logit import Logit
from pixelgrad.revive import revive
from pixelgrad.steps import Adam, Cooling, Momentum, NormalizedGradient, Sign
from pixelgrad.transforms import Chain, Noise, Roll, Turn, Views, blur

QUIET = Work()


# ---------------------------------------------------------------------- rules


def bowl(z: torch.Tensor) -> torch.Tensor:
    """The gradient of a score whose curvature differs from number to number, with a top at 1."""
    return (1 - z) * torch.linspace(0.1, 3, z[0].numel(), dtype=z.dtype).reshape(z[0].shape)


def follow(rule, z, steps=30):
    memory: dict[str, torch.Tensor] = {}
    for step in range(steps):
        z, memory = rule.step(z, bowl(z), memory, step)
    return z


@pytest.mark.parametrize(("rule", "theirs"), [
    (Adam(0.05), lambda p: torch.optim.Adam([p], 0.05)),
    (Adam(0.3, beta1=0.7, beta2=0.9, epsilon=1e-3),
     lambda p: torch.optim.Adam([p], 0.3, betas=(0.7, 0.9), eps=1e-3)),
    (Adam(0.05, nesterov=True), lambda p: torch.optim.NAdam([p], 0.05)),
    (Momentum(0.01, 0.9), lambda p: torch.optim.SGD([p], 0.01, momentum=0.9)),
], ids=["adam", "adam-betas", "nadam", "momentum"])  # fmt: skip
def test_rules_are_torchs(rule, theirs, monkeypatch):
    # NAdam keeps a product in the default precision, whatever that of its parameters
    monkeypatch.setattr(sys.modules[torch.optim.NAdam.__module__], "_get_scalar_dtype", lambda: torch.float64)
    start = torch.randn(2, 3, 4, dtype=torch.float64)
    parameter = start.clone()
    optimiser = theirs(parameter)
    for _ in range(30):
        parameter.grad = -bowl(parameter)
        optimiser.step()
    torch.testing.assert_close(follow(rule, start), parameter, rtol=1e-11, atol=1e-13)


def test_plain_rules_by_their_formulas():
    z, g = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    for i in range(2):
        length = math.sqrt(sum(float(v) ** 2 for v in g[i]))
        moved = NormalizedGradient(0.7).step(z, g, {}, 0)[0][i]
        torch.testing.assert_close(moved, z[i] + 0.7 * g[i] / length, rtol=1e-14, atol=1e-15)
        signs = torch.tensor([math.copysign(1, v) for v in g[i].tolist()], dtype=torch.float64)
        assert torch.equal(Sign(0.7).step(z, g, {}, 0)[0][i], z[i] + 0.7 * signs)


def test_cooling_takes_the_rules_steps_shorter_towards_the_end():
    z, g = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    cooling = Cooling(NormalizedGradient(1.0), 9)
    lengths = [float(cooling.step(z, g, {}, step)[0].norm()) for step in range(9)]
    assert lengths == pytest.approx([1] * 7 + [2 / 3, 1 / 3])


# ---------------------------------------------------------------------- the course's update


def test_the_courses_class_visualization_step_by_step_with_plain_autograd(small):
    """The loop of CS231n's notebook, on normalised pixels, with its own functions for rolling and blurring."""
    import scipy.ndimage

    mean, std, target, lr, l2, jitter = 0.45, 0.25, 3, 25.0, 1e-3, 16
    first = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    canvas = PixelCanvas(first, small.mean, small.std)
    draws = torch.Generator().manual_seed(7)

    def constrain(z, rows, step):
        z = canvas.clip(z)
        return blur(z, 0.5) if step % 10 == 0 else z

    found = ascend(
        small,
        Logit(target) - l2 * Energy(None, None),
        canvas,
        NormalizedGradient(lr),
        25,
        transform=Roll(jitter),
        constrain=constrain,
        seed=7,
        work=QUIET,
    )

    img = (first - mean) / std
    small.module.eval()
    for t in range(25):
        oy, ox = torch.randint(0, jitter + 1, (2,), generator=draws).tolist()
        img = torch.roll(img, (oy, ox), (2, 3)).requires_grad_()
        score = small.module(img)[0, target] - l2 * (img**2).sum()
        (g,) = torch.autograd.grad(score, img)
        score, img = score.detach(), (img + lr * g / g.norm()).detach()
        img = torch.roll(img, (-oy, -ox), (2, 3))
        img = img.clamp((0 - mean) / std, (1 - mean) / std)
        if t % 10 == 0:
            img = torch.from_numpy(scipy.ndimage.gaussian_filter(img.numpy(), (0, 0, 0.5, 0.5)))
    torch.testing.assert_close(found.pixels, img * std + mean, rtol=0, atol=1e-10)
    assert found.gradients.tolist() == [25]
    assert float(found.score[0]) == pytest.approx(float(score), rel=1e-9)


# ---------------------------------------------------------------------- batches


WILD = Chain((Turn(0.2, 20, 4, 2), Noise(0.05)))


def run(model, *, n=3, steps=12, rule=None, canvas=None, work=QUIET, **more):
    canvas = canvas or FourierCanvas(torch.zeros(n, 3, 16, 16, dtype=torch.float64), 1)
    objective = Logit(tuple(range(n)))
    more = {"transform": WILD, "seed": 5, **more}
    return ascend(model, objective, canvas, rule or Adam(0.05), steps, work=work, **more)


def test_several_views_give_the_mean_gradient(small):
    found = run(small, n=2, steps=1, rule=Momentum(1.0), transform=Views(3, Noise(0.2)))
    each = []
    draws = torch.Generator().manual_seed(5)
    canvas = FourierCanvas(torch.zeros(2, 3, 16, 16, dtype=torch.float64), 1)
    for _ in range(3):
        added = 0.2 * torch.randn(3, 16, 16, generator=draws).double()
        z = canvas.start().requires_grad_()
        x = canvas.pixels(z, torch.arange(2))
        s = small(x + ((x + added).clamp(0, 1) - x).detach())
        score = s[range(2), range(2)]
        each.append((score.detach(), torch.autograd.grad(score.sum(), z)[0]))
    z = canvas.start() + sum(g for _, g in each) / 3
    torch.testing.assert_close(found.pixels, canvas.pixels(z, torch.arange(2)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.score, sum(s for s, _ in each) / 3, rtol=1e-10, atol=1e-12)
    assert found.gradients.tolist() == [3, 3]


def judged(limits, log=None):
    """Images finish at the step of their own limit; the later the better."""

    def judge(seen):
        if log is not None:
            log.append((seen.step, seen.rows.tolist(), len(seen.pixels)))
        limit = torch.tensor(limits)[seen.rows]
        return Verdict(torch.full((len(seen.rows),), -float(seen.step)), limit <= seen.step)

    return judge


def test_finished_images_leave_the_batch_and_keep_their_picture(small):
    log = []
    found = run(small, judge=judged([2, 5, 99], log), steps=8)
    assert found.gradients.tolist() == [3, 6, 8]
    assert [rows for _, rows, _ in log[:8]] == [[0, 1, 2]] * 3 + [[1, 2]] * 3 + [[2]] * 2
    assert all(len(rows) == n for _, rows, n in log)
    assert found.value[:2].tolist() == [-2, -5]
    for i, steps in ((0, 2), (1, 5)):
        earlier = run(small, steps=steps)
        torch.testing.assert_close(found.pixels[i], earlier.pixels[i], rtol=1e-10, atol=1e-12)


def test_it_ends_when_all_are_finished(small):
    seen = []
    found = run(small, judge=judged([1, 2, 0]), steps=50, work=Work(seen.append))
    assert found.gradients.tolist() == [2, 3, 1]
    assert [step.done for step in seen] == [1, 2, 3, 50]


def test_an_image_does_not_depend_on_its_batch_mates(small):
    whole = run(small)
    canvas = FourierCanvas(torch.zeros(1, 3, 16, 16, dtype=torch.float64), 1)
    alone = ascend(small, Logit(2), canvas, Adam(0.05), 12, transform=WILD, seed=5, work=QUIET)
    torch.testing.assert_close(alone.pixels[0], whole.pixels[2], rtol=1e-10, atol=1e-12)


def test_progress_shows_pictures_and_scores(small):
    seen = []
    found = run(small, steps=4, work=Work(seen.append))
    assert [(s.done, s.total) for s in seen] == [(i, 4) for i in range(1, 5)]
    assert torch.equal(seen[-1].pixels, found.pixels)
    assert torch.equal(seen[-1].score, found.score)
    assert float(seen[-1].score.sum()) > float(seen[0].score.sum())


@pytest.mark.parametrize(
    ("steps", "frames", "kept"), [(12, 4, 4), (10, 4, 4), (3, 40, 3), (7, 1, 1), (5, 0, 0)]
)
def test_frames_are_kept_up_to_the_last_step(small, steps, frames, kept):
    found = run(small, steps=steps, work=Work(frames=frames))
    assert len(found.frames) == kept
    if kept:
        assert found.frames[-1].dtype == torch.uint8
        assert torch.equal(found.frames[-1], (found.pixels * 255).round().to(torch.uint8))


# ---------------------------------------------------------------------- interrupted, and going on


RULES = [Adam(0.05), Adam(0.5, nesterov=True), Momentum(0.1), NormalizedGradient(0.5), Sign(0.01)]


def stop_at(step, error):
    def progress(now):
        if now.done == step:
            raise error

    return progress


@pytest.mark.parametrize("error", [Cancelled("enough"), KeyboardInterrupt()], ids=["cancelled", "interrupt"])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: type(r).__name__)
def test_a_resumed_run_is_an_uninterrupted_one_bit_for_bit(small, tmp_path, rule, error):
    judge = judged([3, 9, 99])
    whole = run(small, rule=rule, judge=judge, work=Work(frames=6))
    file = tmp_path / "run.part"
    for step in (1, 5, 10):
        part = run(small, rule=rule, judge=judge, work=Work(stop_at(step, error), file, 6))
        assert part.interrupted == step
        assert file.is_file()
    found = run(small, rule=rule, judge=judge, work=Work(None, file, 6))
    assert found.interrupted is None
    assert not file.exists()
    for name in ("pixels", "value", "score", "gradients"):
        assert torch.equal(getattr(found, name), getattr(whole, name)), name
    assert len(found.frames) == len(whole.frames) == 6
    assert all(torch.equal(a, b) for a, b in zip(found.frames, whole.frames, strict=True))


def test_an_interruption_in_the_middle_of_a_step_loses_only_that_step(small, tmp_path):
    class Slow(FourierCanvas):
        asked = 0

        def pixels(self, z, rows):
            Slow.asked += 1
            if Slow.asked == 8:  # at the end of the sixth step
                raise KeyboardInterrupt
            return super().pixels(z, rows)

    canvas = Slow(torch.zeros(3, 3, 16, 16, dtype=torch.float64), 1)
    file = tmp_path / "run.part"
    part = run(small, canvas=canvas, work=Work(checkpoint=file))
    assert part.interrupted == 5
    assert torch.equal(part.pixels, run(small, steps=5).pixels)
    assert torch.equal(run(small, canvas=canvas, work=Work(checkpoint=file)).pixels, run(small).pixels)


def test_without_a_checkpoint_an_interruption_gives_what_there_is(small):
    part = run(small, work=Work(stop_at(4, KeyboardInterrupt())))
    assert part.interrupted == 4
    assert torch.equal(part.pixels, run(small, steps=4).pixels)


def test_checkpoints_are_written_along_the_way(small, tmp_path, monkeypatch):
    monkeypatch.setattr(ascent, "SAVE_EVERY", 0.0)
    file = tmp_path / "run.part"
    with pytest.raises(InterruptedError):  # like a machine that is switched off: nobody tidies up
        run(small, work=Work(stop_at(6, InterruptedError()), file))
    assert torch.equal(run(small, work=Work(checkpoint=file)).pixels, run(small).pixels)


def test_a_checkpoint_that_cannot_be_written_loses_no_work(small, tmp_path, monkeypatch):
    def full(_):
        raise OutputError("disk full")

    monkeypatch.setattr(images, "write", full)
    with pytest.warns(UserWarning, match="disk full"):
        part = run(small, work=Work(stop_at(4, KeyboardInterrupt()), tmp_path / "run.part"))
    assert part.interrupted == 4


def test_a_checkpoint_of_another_run_or_none_is_refused(small, tmp_path):
    file = tmp_path / "run.part"
    run(small, key="one", work=Work(stop_at(2, Cancelled("")), file))
    with pytest.raises(SettingError, match="is of another run"):
        run(small, key="two", work=Work(checkpoint=file))
    for content in (b"", b"nonsense", file.read_bytes()[:500]):
        file.write_bytes(content)
        with pytest.raises(SettingError, match="is no checkpoint"):
            run(small, key="one", work=Work(checkpoint=file))


# ---------------------------------------------------------------------- gradients that lead nowhere


class Dead(nn.Module):
    """No unit of it is active on any picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)
        nn.init.constant_(self.conv.bias, -100.0)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def test_a_dead_start_is_explained_and_can_be_revived():
    model = pg.Classifier(Dead(), name="dead")
    nn.init.uniform_(model.module.fc.weight, 0.5, 1.0)
    canvas = PixelCanvas(torch.rand(2, 3, 8, 8))
    with pytest.raises(ModelError, match=r"of Logit\(1\) on dead is zero everywhere after 0 steps: no unit"):
        ascend(model, Logit(1), canvas, NormalizedGradient(1), 3, work=QUIET)
    with torch.no_grad():
        model.module.conv.bias[:] = -1.0
        model.module.conv.weight[:] = 0.1  # bright pictures are active, and dark ones are not
    canvas = PixelCanvas(torch.full((2, 3, 8, 8), 0.2))
    first = model(canvas.first).detach()[:, 1]
    with pytest.raises(ModelError, match="zero everywhere"):
        ascend(model, Logit(1), canvas, NormalizedGradient(1), 3, work=QUIET)
    found = ascend(
        model,
        Logit(1),
        canvas,
        NormalizedGradient(1),
        30,
        constrain=lambda z, *_: canvas.clip(z),
        measure=lambda m, o, x, keep, step: evaluate(m, o, x, keep, rule=revive),
        work=QUIET,
    )
    assert bool((found.score > first + 0.1).all())


def test_reviving_changes_nothing_where_units_are_alive(small, pixels):
    from pixelgrad.gradient import evaluate

    nothing = lambda score: nullcontext()  # noqa: E731 - but a rule, so that both go the same way
    plain, revived = (evaluate(small, Logit(1), pixels, rule=r) for r in (nothing, revive))
    assert torch.equal(plain.gradient, revived.gradient)


def test_a_gradient_that_dies_later_says_so():
    class Fading(NormalizedGradient):
        def step(self, z, g, memory, step):
            return torch.zeros_like(z), memory

    model = pg.Classifier(Dead(), name="fading")
    with torch.no_grad():
        model.module.conv.bias[:] = -1.0
        model.module.conv.weight[:] = 0.1
    canvas = PixelCanvas(torch.full((1, 3, 8, 8), 0.9))
    with pytest.raises(ModelError, match="zero everywhere after 1 steps: the output is saturated"):
        ascend(model, Logit(1), canvas, Fading(1), 3, work=QUIET)


def test_a_gradient_that_is_not_finite_says_so(small):
    small.module.fc.weight.data[:] = float("inf")
    with pytest.raises(ModelError, match="on small is not finite after 0 steps"):
        run(small)


def test_the_module_and_the_global_random_numbers_are_left_alone(small):
    before = torch.random.get_rng_state()
    run(small)
    assert torch.equal(torch.random.get_rng_state(), before)
