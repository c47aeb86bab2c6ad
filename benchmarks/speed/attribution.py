"""Saliency, SmoothGrad, integrated gradients, Grad-CAM and occlusion against Captum's, on the same work.

Captum, in a process of its own, gets the network as its own library makes it. Both give the same maps, but for
SmoothGrad, whose noise is random; how far they are apart stands in the notes. Saliency is also put beside two of the
fastest forward passes (limit.py). What takes a hundred passes is done on a sixteenth of the pictures. Of SmoothGrad and
integrated gradients Captum takes all gradients at once, unless it is told how many; 8 suit this machine better, so that
stands beside it.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

import pixelgrad as pg
from benchmarks.frame import Curve, Row, Times, Way, turns
from benchmarks.setting import Setting, plain
from benchmarks.speed import limit

SAMPLES, STEPS, SQUARE, STRIDE = 32, 32, 44, 15  # the squares of 224 pixels come out even: 13 in a row
CAPTUM = {"efficientnet_lite0": 0.4, "squeezenet1_0": 0.65}  # goals, of its time
FORWARDS = 1.15  # goal, of two of the fastest forward passes


class Work(NamedTuple):
    """What both do: pixelgrad's way and Captum's, whether both give the same, whether there is a goal, and how many
    gradients Captum is told to take at once; by itself it takes all."""

    what: str
    own: Callable[[], Tensor]
    captum: Callable[[], Tensor]
    same: bool = True
    goal: bool = True
    at_once: int | None = None


def rows(setting: Setting) -> Iterator[Row | Curve]:
    """All techniques on each network."""
    peer = setting.peer("captum.attr")
    for i, model in enumerate(setting.networks):
        whole = setting.pictures(model, setting.images)
        ways = {"own": owned(model, whole, "saliency"), "limit": limit.two(model, whole)}
        times, what = turns(ways, setting.rounds), f"saliency of {len(whole)}"
        two = "two best forward passes"
        yield Row("attribution", what, model.name, two, times["own"], times["limit"], FORWARDS)
        if peer is not None:
            with Aside(setting, i) as aside:
                for k, work in enumerate(works(setting, i, peer)):
                    yield row(model, work, turns({"own": work.own, "captum": aside.way(k)}, setting.rounds))


def row(model: pg.Classifier, work: Work, times: Times) -> Row:
    """One technique."""
    note = apart(work.own(), work.captum()) if work.same else "the noise is another"
    goal = CAPTUM.get(model.name) if work.goal else None
    against = "Captum" if work.at_once is None else f"Captum, told to take {work.at_once} at once"
    return Row("attribution", work.what, model.name, against, times["own"], times["captum"], goal, note)


class Aside:
    """Captum in a process of its own, as people have it: pixelgrad tells the allocator of its process to keep memory,
    which others would profit from."""

    def __init__(self, setting: Setting, network: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        asked = (setting.images, setting.rounds, setting.photos, setting.squeezenet)
        self._process = context.Process(target=serve, args=(theirs, asked, network), daemon=True)
        self._process.start()
        theirs.close()

    def way(self, number: int) -> Way:
        """Captum's way of one of the works, there."""

        def run() -> None:
            self._pipe.send(number)
            self._pipe.recv()

        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def serve(pipe: Connection, asked: tuple[Any, ...], network: int) -> None:
    """The other end."""
    os.environ["MALLOC_LEFT_ALONE"] = "1"  # then pixelgrad does so
    setting = Setting(*asked, say=lambda _: None)
    peer = setting.peer("captum.attr")
    assert peer is not None
    every = list(works(setting, network, peer))
    while True:
        every[pipe.recv()].captum()
        pipe.send(None)


def works(setting: Setting, network: int, peer: ModuleType) -> Iterator[Work]:
    """Saliency on the whole batch, and the others."""
    model = setting.networks[network]
    whole = setting.pictures(model, setting.images)
    target = classes(model, whole)
    yield Work(
        f"saliency of {len(whole)}",
        owned(model, whole, "saliency"),
        saliency_of_captum(model, whole, peer.Saliency(plain(model)), torch.tensor(target)),
    )
    yield from others(model, whole[: max(1, len(whole) // 16)], whole, peer)


def others(model: pg.Classifier, few: Tensor, whole: Tensor, peer: ModuleType) -> Iterator[Work]:
    """The slow ones on few pictures, Grad-CAM on the whole batch."""
    module = plain(model, hooked=True)
    n, target, std = len(few), torch.tensor(classes(model, few)), torch.tensor(model.std)
    x = model.normalise(few)
    black, grey = (model.normalise(torch.full_like(few, level)) for level in (0, 0.5))

    smooth = peer.NoiseTunnel(peer.Saliency(module))
    sigma = 0.15 / float(std.mean())  # Captum's noise is one number, in the network's units
    integrated = peer.IntegratedGradients(module)

    def smoothed(at_once: int | None) -> Tensor:
        settings = {"nt_samples": SAMPLES, "nt_samples_batch_size": at_once, "stdevs": sigma}
        maps: Tensor = smooth.attribute(leaf(x), **settings, target=target)
        return maps

    def summed(at_once: int | None) -> Tensor:
        settings = {"n_steps": STEPS, "internal_batch_size": at_once and max(at_once, n)}
        maps: Tensor = integrated.attribute(x, black, target=target, **settings)
        return maps.detach()

    for at_once in (None, 8):
        yield Work(
            f"SmoothGrad of {n}, {SAMPLES} samples",
            owned(model, few, "smoothgrad", samples=SAMPLES),
            functools.partial(smoothed, at_once),
            same=False,
            at_once=at_once,
        )
    for at_once in (None, 8):
        yield Work(
            f"integrated gradients of {n}, {STEPS} points",
            owned(model, few, "integrated-gradients", steps=STEPS, tolerance=1e9),
            functools.partial(summed, at_once),
            at_once=at_once,
        )
    layer = pg.make("show/grad-cam").run(model, few[:1]).report["layer"]
    cam, all_of_them = peer.LayerGradCam(module, module.get_submodule(layer)), model.normalise(whole)
    every = torch.tensor(classes(model, whole))

    def cams() -> Tensor:
        found = cam.attribute(leaf(all_of_them), target=every, relu_attributions=True)
        size = tuple(whole.shape[2:])
        maps: Tensor = peer.LayerAttribution.interpolate(found, size, "bilinear").detach()[:, 0]
        return maps

    yield Work(f"Grad-CAM of {len(whole)}", owned(model, whole, "grad-cam", layer=layer), cams, goal=False)
    occlusion = peer.Occlusion(lambda x: module(x).softmax(1))

    def occluded() -> Tensor:
        """Captum maps the mean fall of the probability, over the squares that cover a pixel."""
        with torch.no_grad():
            whole = module(x).softmax(1).gather(1, target[:, None])[:, :, None]
            fall: Tensor = occlusion.attribute(
                x,
                (3, SQUARE, SQUARE),
                (3, STRIDE, STRIDE),
                baselines=grey,
                target=target,
                perturbations_per_eval=8,
            )
            return whole - fall[:, 0]

    squares = ((few.shape[-1] - SQUARE) // STRIDE + 1) ** 2
    yield Work(
        f"occlusion of {n}, {squares} squares",
        owned(model, few, "occlusion", size=SQUARE, stride=STRIDE),
        occluded,
        goal=False,
    )


def owned(model: pg.Classifier, pixels: Tensor, name: str, **settings: object) -> Callable[[], Tensor]:
    """pixelgrad's maps."""
    technique = pg.make(f"show/{name}", target=classes(model, pixels), **settings)
    return lambda: technique.run(model, pixels).pixels


def saliency_of_captum(
    model: pg.Classifier, pixels: Tensor, method: Any, target: Tensor
) -> Callable[[], Tensor]:
    """Captum's maps per unit of pixel; its input is normalised beforehand."""
    std = torch.tensor(model.std)[:, None, None]
    x = model.normalise(pixels)
    return lambda: (method.attribute(leaf(x), target=target) / std).amax(1)


def classes(model: pg.Classifier, pixels: Tensor) -> tuple[int, ...]:
    """What the network says."""
    with torch.no_grad():
        return tuple(model(pixels).argmax(1).tolist())


def leaf(x: Tensor) -> Tensor:
    """The same, to be differentiated at."""
    return x.detach().clone().requires_grad_()


def apart(ours: Tensor, theirs: Tensor) -> str:
    """How far two maps are apart: single pixels differ where rounding puts a unit on the other side of a rectifier."""
    error = float((ours - theirs).norm() / theirs.norm())
    return f"the maps differ by {error:.1e} of their length"
