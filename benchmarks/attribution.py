"""Saliency, SmoothGrad, integrated gradients, Grad-CAM and occlusion against Captum's, on the same work.

    python benchmarks/attribution.py [--images 4] [--rounds 5] [--squeezenet WEIGHTS]

In one process, interleaved; the ratios are of medians. Captum gets the network as its own library makes it. Both give
the same maps, but for SmoothGrad, whose noise is random; that is checked first.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import captum.attr
import torch
from captum.attr import LayerAttribution, LayerGradCam, NoiseTunnel

import pixelgrad as pg

SAMPLES, STEPS, SQUARE, STRIDE = 32, 32, 44, 15  # the squares of 224 pixels come out even: 13 in a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--squeezenet", metavar="WEIGHTS", help="weights of torchvision's squeezenet1_0")
    options = parser.parse_args()
    models = [pg.load("efficientnet_lite0")]
    if options.squeezenet:
        models.append(pg.load("squeezenet1_0", weights=options.squeezenet))
    print(
        f"{options.images} pictures of 224×224, {torch.get_num_threads()} threads, medians of {options.rounds}"
    )
    for model in models:
        compare(model, options.images, options.rounds)


def compare(model: pg.Classifier, images: int, rounds: int) -> None:
    pixels = torch.cat([pg.open_image(f"sample:{name}", model) for name in ("cat", "coffee", "astronaut")])
    pixels = pixels.repeat(-(-images // 3), 1, 1, 1)[:images]
    target = model(pixels).argmax(1)
    print(f"\n{model.name}")
    plain = copy.deepcopy(model.module).to(memory_format=torch.contiguous_format).requires_grad_(True)
    for m in plain.modules():
        if getattr(m, "inplace", False):
            m.inplace = False  # Captum's layer hooks read what an in-place module has changed
    for name, (own, captums, same) in ways(model, plain, pixels, target).items():
        ours, theirs = own(), captums()
        if same:
            error = float((ours - theirs).abs().max() / theirs.abs().max())
            note = f"largest difference {error:.1e} of the maximum"
        else:
            note = "other noise"
        times: dict[str, list[float]] = {"own": [], "captum": []}
        for _ in range(rounds):
            for key, way in (("own", own), ("captum", captums)):
                start = time.perf_counter()
                way()
                times[key].append(time.perf_counter() - start)
        mine, other = (statistics.median(times[key]) for key in ("own", "captum"))
        print(
            f"  {name:22} {mine:7.3f} s   Captum {other:7.3f} s   pixelgrad takes {mine / other:.2f} of it; {note}"
        )


def ways(model, plain, pixels, target):
    """For each technique: pixelgrad's way, Captum's, and whether both give the same."""
    std = torch.tensor(model.std)[:, None, None]
    classes = tuple(target.tolist())
    x = model.normalise(pixels)
    black, grey = (model.normalise(torch.full_like(pixels, level)) for level in (0, 0.5))
    sigma = 0.15 / float(std.mean())  # Captum's noise is one number, in the network's units

    def own(name, **settings):
        technique = pg.make(f"show/{name}", target=classes, **settings)
        return lambda: technique.run(model, pixels).pixels

    def leaf():
        return x.detach().clone().requires_grad_()

    saliency = captum.attr.Saliency(plain)
    smooth = NoiseTunnel(captum.attr.Saliency(plain))
    integrated = captum.attr.IntegratedGradients(plain)
    occlusion = captum.attr.Occlusion(lambda x: plain(x).softmax(1))
    name = pg.make("show/grad-cam").run(model, pixels[:1]).report["layer"]
    cam = LayerGradCam(plain, plain.get_submodule(name))

    def cams():
        found = cam.attribute(leaf(), target=target, relu_attributions=True)
        return LayerAttribution.interpolate(found, tuple(pixels.shape[2:]), "bilinear").detach()[:, 0]

    def occluded():
        """Captum maps the mean fall of the probability, over the squares that cover a pixel."""
        with torch.no_grad():
            whole = plain(x).softmax(1).gather(1, target[:, None])[:, :, None]
            fall = occlusion.attribute(
                x,
                (3, SQUARE, SQUARE),
                (3, STRIDE, STRIDE),
                baselines=grey,
                target=target,
                perturbations_per_eval=8,
            )
            return whole - fall[:, 0]

    return {
        "saliency": (
            own("saliency"),
            lambda: (saliency.attribute(leaf(), target=target) / std).amax(1),
            True,
        ),
        f"smoothgrad, {SAMPLES}": (
            own("smoothgrad", samples=SAMPLES),
            lambda: smooth.attribute(
                leaf(), nt_samples=SAMPLES, nt_samples_batch_size=8, stdevs=sigma, target=target
            ),
            False,
        ),
        f"integrated, {STEPS}": (
            own("integrated-gradients", steps=STEPS, tolerance=1e9),
            lambda: integrated.attribute(
                x, black, target=target, n_steps=STEPS, internal_batch_size=max(8, len(x))
            ).detach(),
            True,
        ),
        "grad-cam": (own("grad-cam", layer=name), cams, True),
        "occlusion": (own("occlusion", size=SQUARE, stride=STRIDE), occluded, True),
    }


if __name__ == "__main__":
    main()
