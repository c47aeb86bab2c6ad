"""pixelgrad shows what an image classifier sees.

import pixelgrad as pg

model = pg.load("efficientnet_lite0")
cat = pg.open_image("sample:cat", model)
print(model.top(cat, 5))
pg.make("show/saliency").run(model, cat).save("saliency.png")
"""

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
