"""The best k of what is found part by part, in one total order: score descending, then the picture's id ascending.

No two pictures are equal in it, so the best k of a union are the best k of the parts' best k, however it was cut.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

NOBODY = torch.iinfo(torch.long).max  # the id in a place that is not taken: after all others


class Top(NamedTuple):
    """For each of some lists the best, best first: scores (lists, k), ids (lists, k), and what else is known of them,
    notes (lists, k, m). A place that is not taken has −∞, NOBODY and −1."""

    scores: Tensor
    ids: Tensor
    notes: Tensor

    @classmethod
    def empty(cls, lists: int, k: int, notes: int, device: torch.device | None = None) -> Self:
        """Nothing found yet."""
        return cls(
            torch.full((lists, k), -torch.inf, dtype=torch.double, device=device),
            torch.full((lists, k), NOBODY, device=device),
            torch.full((lists, k, notes), -1, device=device),
        )

    def join(self, *others: Top) -> Top:
        """The best of all of them, as many as there are places in this one."""
        scores, ids, notes = (torch.cat(parts, 1) for parts in zip(self, *others, strict=True))
        order = ids.argsort(dim=1)
        # stable: of equal scores the lower id stays before
        by_score = scores.gather(1, order).sort(dim=1, descending=True, stable=True).indices
        first = order.gather(1, by_score)[:, : self.scores.shape[1]]
        several = first[..., None].expand(-1, -1, notes.shape[2])
        return Top(scores.gather(1, first), ids.gather(1, first), notes.gather(1, several))
