"""The networks that a studio offers: those named at its start and no others, each loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import NotFound

if TYPE_CHECKING:  # what loads a network brings torch along, so only when one is wanted
    from torch import Tensor

    from ..classifier import Classifier
    from ..taps import Layer

BUNDLED = (
    "efficientnet_lite0",
    "tinynet",
)  # those that come with the install, weights and all; the default first
REMEMBERED = 256  # pictures whose best guesses are known


class Networks:
    """Networks by name. What runs one is for the thread of their device."""

    def __init__(self, names: Sequence[str], weights: str | None, device: str) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.weights = weights
        self._device = device
        self._known: dict[str, Classifier] = {}
        self._layers: dict[str, list[Layer]] = {}
        self._fields: dict[str, dict[str, Any]] = {}
        self._guesses: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def exist(self) -> None:
        """Raises NotFound where one of them does not."""
        for name in self.names:
            if name not in BUNDLED:
                from ..models import source_of

                source_of(name)

    def check(self, name: object) -> str:
        """The name, if it is one of them. Raises NotFound."""
        if not isinstance(name, str) or name not in self.names:
            raise NotFound("model", name, self.names, f"there are {', '.join(self.names)}")
        return name

    def known(self, name: str) -> Classifier | None:
        """A network that is loaded already."""
        return self._known.get(name)

    def get(self, name: str) -> Classifier:
        """A network."""
        if name not in self._known:
            from ..models import load

            self._known[name] = load(name, self.weights, self._device)
        return self._known[name]

    def layers(self, name: str) -> list[dict[str, Any]]:
        """Its layers; `field` is false as long as receptive fields are not measured."""
        if name not in self._layers:
            self._layers[name] = self.get(name).layers()
        measured = self._fields.get(name)
        return [
            {
                "number": i,
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "field": False if measured is None else measured.get(layer.name),
            }
            for i, layer in enumerate(self._layers[name])
        ]

    def measured(self, name: str) -> bool:
        """Whether its receptive fields are."""
        return name in self._fields

    def measure(self, name: str, progress: Any) -> None:
        """Measure its receptive fields, which takes seconds; progress may raise."""
        from ..gradient import Step
        from ..receptive import fields

        found = fields(self.get(name), lambda done, total: progress(Step(done, total)))
        self._fields[name] = {layer: field and field._asdict() for layer, field in found.items()}

    def top(self, name: str, picture: str, pixels: Tensor, k: int) -> list[dict[str, Any]]:
        """The best guesses for a picture, by its id; of the last pictures they are remembered."""
        guesses = self._guesses.pop((name, picture), None)
        if guesses is None or len(guesses) < k:
            guesses = [asdict(guess) for guess in self.get(name).top(pixels, max(k, 10))[0]]
        self._guesses[name, picture] = guesses
        if len(self._guesses) > REMEMBERED:
            del self._guesses[next(iter(self._guesses))]
        return guesses[:k]
