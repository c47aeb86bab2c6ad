"""Train tinynet on TinyImageNet, or measure how often it is right.

    python examples/train_tinynet.py --data tiny-imagenet-100-A --out runs/tinynet
    python examples/train_tinynet.py --evaluate tiny-imagenet-100-A

SGD with Nesterov momentum on the cross-entropy with smoothed labels; the learning rate rises
linearly for two epochs and then falls to zero along half a cosine. After each epoch there is a
checkpoint in --out, from which --resume goes on: on a CPU, with as many threads, to the same bits
as without the interruption.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import checkpoint
from augmentation import AREA, ASPECT, LIGHT, MEAN, STD, augment, normalise
from pixelgrad.datasets.tiny_imagenet import Picture, TinyImageNet, load
from pixelgrad.errors import ModelError, OutputError, PixelgradError
from pixelgrad.models import load as load_model
from pixelgrad.models.tinynet import TinyNet, about

LR, MOMENTUM, DECAY, SMOOTHING, WARMUP = 0.1, 0.9, 5e-4, 0.1, 2  # LR of a batch of 128; epochs
LICENCE = "trained on pictures under ImageNet's terms: research use, not commercial"


def rate(step: int, per_epoch: int, epochs: int, batch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole training."""
    total, warm = epochs * per_epoch, min(WARMUP, epochs / 2) * per_epoch
    rise = min(1.0, (step + 1) / warm)
    fall = 0.5 + 0.5 * math.cos(math.pi * max(0.0, (step - warm) / (total - warm)))
    return LR * batch / 128 * rise * fall


@torch.no_grad()
def accuracy(logits_of: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor) -> tuple[float, float]:
    """The share of pictures whose class is the first guess, and among the first five."""
    logits = torch.cat([logits_of(part) for part in torch.split(pixels, 250)])
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()


def read(pictures: list[Picture], device: torch.device) -> tuple[Tensor, Tensor]:
    """All pictures, (n, 3, 64, 64) uint8, and their labels: 50,000 take 0.6 GB and 15 seconds."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading pictures", total=len(pictures))
        pixels = load(pictures, lambda _: bar.advance(task))
    return pixels.to(device), torch.tensor([p.label for p in pictures], device=device)


def build(classes: int, seed: int, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network before its first step, and what will step it."""
    torch.manual_seed(seed)
    net = TinyNet(classes).to(device).to(memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]  # decaying these only costs accuracy
    groups: list[dict[str, Any]] = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    return net, torch.optim.SGD(groups, LR, MOMENTUM, weight_decay=DECAY, nesterov=True)


def train(args: argparse.Namespace, device: torch.device) -> None:
    """From the folder of pictures to `tinynet.safetensors` in --out."""
    data = TinyImageNet(args.data)
    data = data.subset(data.wnids[: args.classes])
    by_class = groupby(data.train(), lambda picture: picture.label)
    pictures = [p for _, group in by_class for p in list(group)[: args.limit]]
    recipe = {
        "classes": list(data.wnids), "pictures": len(pictures), "epochs": args.epochs,
        "batch": args.batch, "seed": args.seed, "lr": LR, "momentum": MOMENTUM, "decay": DECAY,
        "smoothing": SMOOTHING, "warmup": WARMUP, "area": list(AREA), "aspect": ASPECT,
        "light": LIGHT,
    }  # fmt: skip
    path = checkpoint.prepare(args.out, args.resume)
    net, optimizer = build(len(data.wnids), args.seed, device)
    known = args.resume and path.exists()
    history = checkpoint.restore(path, recipe, net, optimizer) if known else []
    validation = read(data.val(), device)
    if len(history) < args.epochs:
        pixels, labels = read(pictures, device)
    steps = math.ceil(len(pictures) / args.batch)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        done, total = len(history) * steps, args.epochs * steps
        task = bar.add_task("training", total=total, completed=done, now="")
        for epoch in range(len(history), args.epochs):
            # One generator per epoch: a resumed training draws what an uninterrupted one would.
            rng = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
            started, total_loss, hits = time.monotonic(), 0.0, 0
            net.train()
            order = torch.randperm(len(pixels), generator=rng)
            for i, chosen in enumerate(torch.split(order, args.batch)):
                for group in optimizer.param_groups:
                    group["lr"] = rate(epoch * steps + i, steps, args.epochs, args.batch)
                chosen = chosen.to(device)
                x = normalise(augment(pixels[chosen], rng)).to(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16):
                    logits = net(x).float()
                loss = F.cross_entropy(logits, labels[chosen], label_smoothing=SMOOTHING)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                total_loss += loss.item() * len(chosen)
                hits += int((logits.argmax(1) == labels[chosen]).sum())
                bar.update(task, advance=1, now=f"epoch {epoch + 1}, loss {loss.item():.3f}")
            if not math.isfinite(total_loss):
                raise ModelError(f"training diverged in epoch {epoch + 1}: the loss is no number")
            net.eval()
            top1, top5 = accuracy(lambda part: net(normalise(part)), *validation)
            history.append({
                "epoch": epoch + 1, "loss": total_loss / len(pixels), "train": hits / len(pixels),
                "top1": top1, "top5": top5, "seconds": time.monotonic() - started,
            })  # fmt: skip
            bar.console.print(*(f"{k} {v:.4g}" for k, v in history[-1].items()), highlight=False)
            checkpoint.save(path, recipe, net, optimizer, history)
    facts = {"labels": data.names, "recipe": recipe, "history": history}
    export(args.out / "tinynet.safetensors", net, validation, **facts)


def export(path: Path, net: nn.Module, validation: tuple[Tensor, Tensor], **facts: object) -> None:
    """Weights in float16, together with what is needed to use them and to know what they are."""
    net.half().float().eval()
    top1, top5 = accuracy(lambda part: net(normalise(part)), *validation)
    facts |= {"mean": MEAN, "std": STD, "top1": top1, "top5": top5, "licence": LICENCE}
    tensors = {key: value.cpu().contiguous() for key, value in net.half().state_dict().items()}
    part = path.with_suffix(".part")
    try:
        save_file(tensors, part, {key: json.dumps(value) for key, value in facts.items()})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {str(path)!r}: {error}") from error
    print(f"{path}: top-1 {top1:.2%}, top-5 {top5:.2%} of {len(validation[0])} pictures")


def evaluate(folder: Path, weights: Path | None, device: torch.device) -> None:
    """Print how often the bundled weights, or those of a file, are right."""
    model = load_model("tinynet", weights, device)
    pictures = TinyImageNet(folder).subset(about(weights)["recipe"]["classes"]).val()
    top1, top5 = accuracy(lambda part: model(part / 255), *read(pictures, device))
    print(f"top-1 {top1:.2%}, top-5 {top5:.2%} of {len(pictures)} pictures")


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="DIR", type=Path, help="train on this TinyImageNet")
    what.add_argument("--evaluate", metavar="DIR", type=Path, help="measure accuracy on this one")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="to evaluate; else bundled")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/tinynet"))
    parser.add_argument("--epochs", type=at_least_one, default=32)
    parser.add_argument("--batch", type=at_least_one, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--classes", type=at_least_one, help="train on the first ones only")
    parser.add_argument("--limit", type=at_least_one, help="train on so many pictures per class")
    args = parser.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if args.evaluate:
            evaluate(args.evaluate, args.weights, device)
        else:
            train(args, device)
    except PixelgradError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: --resume goes on after the last finished epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
