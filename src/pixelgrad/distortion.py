"""How far a picture is from another: L2, L∞, PSNR, SSIM. Pixels (n, 3, h, w) in [0, 1]; one number per picture."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Values (n,) shaped to calculate with pixels (n, …)."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def l2(difference: Tensor) -> Tensor:
    """‖d‖₂ of each picture, (n,)."""
    # along its dimensions: to flatten what has its channels last is to copy it, which takes ten times as long
    length: Tensor = torch.linalg.vector_norm(difference, dim=tuple(range(1, difference.dim())))
    return length


def linf(difference: Tensor) -> Tensor:
    """max |d| of each picture, (n,)."""
    return difference.flatten(1).abs().amax(1)


def facts(picture: Tensor, original: Tensor) -> dict[str, Any]:
    """All of them for one picture (3, h, w). PSNR in dB, None where the two are equal (it is infinite); SSIM (Wang
    2004) with a Gaussian window of σ = 1.5, over the colours, None where a side is shorter than its 11 pixels."""
    from skimage.metrics import structural_similarity

    a, b = (x.detach().cpu().double().numpy() for x in (picture, original))
    error = float(((a - b) ** 2).mean())
    similarity = None
    if min(a.shape[1:]) >= 11:
        similarity = float(
            structural_similarity(
                a,
                b,
                channel_axis=0,
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )
    difference = (picture - original)[None].double()
    return {
        "l2": float(l2(difference)),
        "linf": float(linf(difference)),
        "psnr": -10 * math.log10(error) if error else None,
        "ssim": similarity,
    }
