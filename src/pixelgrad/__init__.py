"""pixelgrad shows what an image classifier sees.

import pixelgrad as pg

model = pg.load("efficientnet_lite0")
cat = pg.open_image("sample:cat", model)
print(model.top(cat, 5))
pg.make("show/saliency").run(model, cat).save("saliency.png")
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .change import change
    from .classifier import Classifier
    from .errors import PixelgradError
    from .gradient import gradient
    from .images import open_image, open_images
    from .models import load
    from .registry import make
    from .result import Result
    from .run_over import run_over
    from .technique import Technique
    from .trust import trust

__all__ = [
    "Classifier",
    "PixelgradError",
    "Result",
    "Technique",
    "change",
    "gradient",
    "load",
    "make",
    "open_image",
    "open_images",
    "run_over",
    "trust",
]

# where each name comes from; imported when it is first asked for, because torch alone takes a second
_HOME = {
    "Classifier": "classifier",
    "PixelgradError": "errors",
    "Result": "result",
    "Technique": "technique",
    "change": "change",
    "gradient": "gradient",
    "load": "models",
    "make": "registry",
    "open_image": "images",
    "open_images": "images",
    "run_over": "run_over",
    "trust": "trust",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package in which `gradient` is the function, also once the module of that name was imported: the import would
    put the module in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
