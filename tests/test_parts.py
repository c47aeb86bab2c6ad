"""The folder of a run: what it is of, parts that are damaged or of another run, merging, and what killed runs leave."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch

import pixelgrad as pg
from pixelgrad import images
from pixelgrad.batches import Unreadable
from pixelgrad.errors import OutputError, SettingError
from pixelgrad.parts import (
    FOLD,
    FORMAT,
    Parts,
    Span,
    difference,
    identity,
    key_of,
    read,
    table,
    weights_of,
    write,
)
from tests.counting import Counting

ABOUT = {"format": FORMAT, "survey": "find/counting", "settings": {"weight": 1}, "model": "m", "pictures": 7}
KEY = key_of(ABOUT)


def tensors(i: int) -> dict[str, torch.Tensor]:
    return {"sum": torch.tensor([i, 2**40 + i]), "nothing": torch.empty(0, 3), "one": torch.tensor(True)}


def merge(parts):
    whole = {}
    for part in parts:
        whole = {"sum": whole["sum"] + part["sum"]} if whole else {"sum": part["sum"]}
    return whole


def put(folder, *numbers: int, key: str = KEY) -> None:
    for i in numbers:
        write(folder, key, Span(i, i), tensors(i), [Unreadable(i, f"n{i}", "why\nnot")] if i % 2 else [])


def test_a_part_holds_what_was_written(tmp_path):
    Parts(tmp_path / "run", ABOUT, 3)
    put(tmp_path / "run", 1)
    held, unreadable = read(tmp_path / "run", KEY, Span(1, 1))
    assert held.keys() == tensors(1).keys()
    for name, value in tensors(1).items():
        assert held[name].dtype == value.dtype
        assert torch.equal(held[name], value)
    assert unreadable == [Unreadable(1, "n1", "why\nnot")]
    assert os.listdir(tmp_path / "run" / "parts") == ["part-000001.safetensors"]


def test_what_is_missing(tmp_path):
    put_in = tmp_path / "run"
    parts = Parts(put_in, ABOUT, 5)
    assert parts.missing() == [0, 1, 2, 3, 4]
    put(put_in, 1, 3)
    assert Parts(put_in, ABOUT, 5).missing() == [0, 2, 4]
    parts.add(1, merge)
    assert parts.missing() == [0, 2, 3, 4]
    with pytest.raises(OutputError, match="part 2 was done, but is not in"):
        parts.add(2, merge)


def test_a_part_that_is_cut_anywhere_or_has_one_bit_changed_is_done_again(tmp_path):
    Parts(tmp_path, ABOUT, 1)
    put(tmp_path, 0)
    file = tmp_path / "parts" / "part-000000.safetensors"
    good = file.read_bytes()
    broken = [good[:n] for n in range(0, len(good), 7)]
    for place in range(0, len(good), 5):
        broken.append(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    accepted = 0
    for data in broken:
        file.write_bytes(data)
        found = read(tmp_path, KEY, Span(0, 0))
        # a bit in the padding or in the order of the header's keys may change nothing
        accepted += found is not None
        assert found is None or torch.equal(found[0]["sum"], tensors(0)["sum"])
    assert accepted <= 2
    assert Parts(tmp_path, ABOUT, 1).missing() == [0]
    assert not file.exists()


def test_a_part_of_another_run_is_done_again(tmp_path):
    Parts(tmp_path, ABOUT, 2)
    put(tmp_path, 0)
    put(tmp_path, 1, key=key_of({**ABOUT, "model": "other"}))
    assert Parts(tmp_path, ABOUT, 2).missing() == [1]


def test_parts_are_merged_as_they_come_and_in_any_order(tmp_path):
    """FOLD² + 3 of them: one file for the first FOLD², and one each for the rest."""
    n = FOLD**2 + 3
    parts = Parts(tmp_path, ABOUT, n)
    most = 0
    for i in torch.randperm(n).tolist():
        put(tmp_path, i)
        parts.add(i, merge)
        most = max(most, len(os.listdir(tmp_path / "parts")))
    assert sorted(parts.done) == [Span(0, FOLD**2 - 1), *(Span(i, i) for i in range(FOLD**2, n))]
    assert sorted(os.listdir(tmp_path / "parts")) == sorted(s.file for s in parts.done)
    assert most < n
    for again in (parts, Parts(tmp_path, ABOUT, n)):
        assert again.missing() == []
        whole, unreadable = again.whole(merge)
        assert whole["sum"].tolist() == [sum(range(n)), n * 2**40 + sum(range(n))]
        assert [u.id for u in unreadable] == list(range(1, n, 2))


def test_killed_between_merging_and_removing(tmp_path):
    parts = Parts(tmp_path, ABOUT, FOLD)
    for i in range(FOLD):
        put(tmp_path, i)
        parts.add(i, merge)
    put(tmp_path, 3, 5)  # as if they had not been removed
    parts = Parts(tmp_path, ABOUT, FOLD)
    assert parts.done == {Span(0, FOLD - 1)}
    assert len(os.listdir(tmp_path / "parts")) == 1
    (tmp_path / "parts" / Span(0, FOLD - 1).file).write_bytes(b"damaged")
    assert Parts(tmp_path, ABOUT, FOLD).missing() == list(range(FOLD))


def test_leftovers_of_killed_runs_are_removed(tmp_path):
    Parts(tmp_path, ABOUT, 1)
    for folder in (tmp_path, tmp_path / "parts"):
        (folder / f"{images.TEMPORARY}abc").write_bytes(b"half")
    Parts(tmp_path, ABOUT, 1)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["parts", "run.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"survey": "find/other"}, "its survey is find/other, not find/counting"),
        ({"settings": {"weight": 2}}, "its weight is 2, not 1"),
        ({"model": "n"}, "its model is n, not m"),
        ({"pictures": 8}, "its data had 8 pictures, not 7"),
        ({"data": "x"}, "its data were others, or have changed since"),
        ({"weights": "x"}, "its network had other weights"),
        ({"input": "x"}, "its pictures were prepared in another way"),
        ({"format": 0}, "it was made by another version of pixelgrad"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_says_what_differs(tmp_path, change, message):
    about = {**ABOUT, "data": "d", "weights": "w", "input": "i"}
    Parts(tmp_path, {**about, **change}, 1)
    with pytest.raises(SettingError) as caught:
        Parts(tmp_path, about, 1)
    assert str(caught.value) == f"{tmp_path} is of another run: {message}; give another folder, or delete it"


def test_the_first_difference_is_the_one_that_explains_the_others():
    old = {**ABOUT, "survey": "find/other", "settings": {"k": 9}, "model": "n", "pictures": 3}
    assert difference(old, ABOUT) == "its survey is find/other, not find/counting"
    assert difference([], ABOUT) == "it was made by another version of pixelgrad"


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files; give a new folder, or an empty one"):
        Parts(tmp_path, ABOUT, 1)
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(OutputError, match="is no folder"):
        Parts(tmp_path / "thesis.txt", ABOUT, 1)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SettingError, match=r"is damaged; delete .* to start again"):
        Parts(tmp_path, ABOUT, 1)


def test_no_space_is_one_line_and_nothing_is_half_written(tmp_path, monkeypatch):
    Parts(tmp_path, ABOUT, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        OutputError, match=r"part-000000.safetensors cannot be written: no space left on device$"
    ):
        put(tmp_path, 0)
    assert os.listdir(tmp_path / "parts") == []


def test_runs_are_told_apart_by_settings_weights_input_and_data(small, tmp_path):
    class Data:
        classes = None

        def __init__(self, mark):
            self.mark = mark

        def __len__(self):
            return 3

        def fingerprint(self):
            return self.mark

    first = identity(Counting(), small, Data("a"), 500)
    assert json.loads(json.dumps(first)) == first
    assert identity(Counting(), small, Data("a"), 500) == first
    others = [
        identity(Counting(weight=2), small, Data("a"), 500),
        identity(Counting(), small, Data("b"), 500),
    ]
    small.std = (0.5, 0.5, 0.5)
    others.append(identity(Counting(), small, Data("a"), 500))
    before = weights_of(small)
    with torch.no_grad():
        small.module.fc.bias[0] = torch.nextafter(small.module.fc.bias[0], torch.tensor(9.0).double())
    assert weights_of(small) != before
    others.append(identity(Counting(), small, Data("a"), 500))
    assert len({key_of(about) for about in [first, *others]}) == 5


def test_the_hash_of_weights_does_not_depend_on_how_they_lie_in_memory():
    model = pg.load("tinynet")
    before = weights_of(model)
    model.module.to(memory_format=torch.contiguous_format)
    assert weights_of(model) == before


def test_the_table_of_what_cannot_be_read():
    odd = os.fsdecode(b"\xff,.png")
    found = table([Unreadable(3, odd, "is damaged: x"), Unreadable(9, "b", 'a "b"')])
    assert found == b'name,reason\n"\xff,.png",is damaged: x\nb,"a ""b"""\n'
