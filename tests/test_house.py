"""The layers of the package: imports point strictly down, and techniques never import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pixelgrad.registry import VERBS

SRC = Path(__file__).parent.parent / "src" / "pixelgrad"
LAYERS = (
    ("errors",),
    (
        *("allocator", "registry", "preprocessing", "labels", "borrow", "grids", "chains"),
        *("convolutions", "steps", "rules", "canvases", "transforms", "tally", "topk"),
    ),
    ("images", "distortion", "octaves", "revive", "curves", "pointing", "kernels", "taps"),
    ("jpeg", "film", "intervals", "data", "fused"),
    ("faster",),
    ("classifier", "pictures", "datasets.*"),
    ("heatmaps",),
    ("objectives.base", "result", "receptive", "stages", "ranks"),
    ("objectives.of_class",),
    ("objectives.*",),
    ("objective_text", "gradient"),
    ("checkpoint", "declared", "deletion", "forgetting", "noise", "projection", "unrectified"),
    ("technique", "survey", "ascent", "tiles", "attacks", "saved", "models.weights", "models.imagenet"),
    ("models.*", "presets", "series", "methods", "batches", "blocks"),
    ("models", "figures", "change", "comparison", "datasets", "parts", "units", "unit_pictures"),
    ("unit_table",),
    tuple(f"{verb}.*" for verb in VERBS),
    ("engines.base",),
    ("engines.*",),
    ("run_over",),
    ("trust", "recipe", "report", "cs231n.pictures", "cs231n.numpy_pictures", "cs231n.shown"),
    ("unit_html",),
    ("unit_pages",),
    (
        *("studio.store", "studio.words", "studio.describe", "studio.networks"),
        "studio.guards",
    ),
    ("studio.panels",),
    (
        *("studio.answers", "studio.asking", "studio.films", "studio.job", "studio.kept"),
        *("studio.offered", "studio.pictures", "studio.tasks"),
    ),
    ("studio.jobs", "studio.watch", "studio.events", "studio.run"),
    ("studio.side_by_side",),
    ("studio.work", "studio.surveys"),
    ("studio.api_find", "studio.api_jobs", "studio.api_offers", "studio.api_page", "studio.api_pictures"),
    ("studio.app",),
    ("studio.serve",),
    ("cli.console", "cs231n.pretrained_cnn"),
    ("cli.*", "cs231n.*"),
    ("cli.commands",),
    ("cli",),
)
# names for the outside, or only a docstring: nothing inside may come through them
PACKAGES = ("", "cs231n", "engines", "objectives", "studio", *VERBS)


def layer(module: str) -> int:
    """The layer of a module; an exact name counts before a folder's."""
    for pattern in (module, module.rpartition(".")[0] + ".*"):
        for i, names in enumerate(LAYERS):
            if pattern in names:
                return i
    pytest.fail(f"{module} has no place in the layers")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


def imports(module: str, path: Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it."""
    known = modules()
    own = ["pixelgrad", *module.split(".")] if module else ["pixelgrad"]
    package = own if path.name == "__init__.py" else own[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("pixelgrad.") for a in node.names if a.name.startswith("pixelgrad")}
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            if base[:1] != ["pixelgrad"]:
                continue
            inner = ".".join(base[1:])
            for alias in node.names:
                deeper = f"{inner}.{alias.name}".lstrip(".")
                found.add(deeper if deeper in known else inner)
    return found


INNER = {name: path for name, path in modules().items() if name not in PACKAGES}


@pytest.mark.parametrize("module", INNER)
def test_imports_point_strictly_down(module):
    for other in imports(module, INNER[module]):
        assert other not in PACKAGES, f"{module} imports from a package that only gives names"
        assert layer(other) < layer(module), f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("module", [m for m in modules() if m.split(".")[0] in VERBS and "." in m])
def test_techniques_do_not_import_each_other(module):
    others = {m.split(".")[0] for m in imports(module, modules()[module])}
    assert not others & set(VERBS)


def test_every_file_is_in_the_layers():
    assert len(INNER) > 20
    assert all(layer(name) >= 0 for name in INNER)


def test_the_check_sees_an_import_that_points_up(tmp_path):
    file = tmp_path / "images.py"
    file.write_text("def f():\n    from .cli import look\n    from . import classifier\n")
    found = imports("images", file)
    assert found == {"cli.look", "classifier"}
    assert all(layer(name) > layer("images") for name in found)
