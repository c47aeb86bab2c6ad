"""The frame of the benchmarks: turns, medians, ratios and goals, and the page, without a network and without peers."""

from __future__ import annotations

import importlib
import json
import sys
from statistics import median

import pytest
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import page
from benchmarks.frame import LEAST, Curve, Row, alongside, turns
from benchmarks.setting import PEERS, Setting, machine


class Clock:
    """Time that passes only where somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float):
        """A way that takes so long, time after time; at the end as long as at last."""
        left = list(seconds)

        def way() -> None:
            self.done.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return way


def test_ways_take_turns_after_one_run_that_does_not_count():
    clock = Clock()
    ways = {"own": clock.work("own", 100, 1, 3, 2), "other": clock.work("other", 100, 4, 4, 9)}
    assert turns(ways, 3, clock=clock) == {"own": (1, 3, 2), "other": (4, 4, 9)}
    assert clock.done == ["own", "other", "own", "other", "other", "own", "own", "other"]


@pytest.mark.parametrize(("seconds", "rounds"), [(1e9, 7), (13, 5), (0, LEAST)])
def test_rounds_end_with_the_time_there_is_but_not_before_the_least(seconds, rounds):
    clock = Clock()
    found = turns({"a": clock.work("a", 3)}, 7, seconds, clock)
    assert found == {"a": (3,) * rounds}


def test_others_have_their_turn_after_every_step_and_the_first_step_does_not_count():
    clock = Clock()
    step, other = clock.work("own", 50, 1, 2, 3), clock.work("other", 7, 8, 9, 10)

    def run(progress):
        for _ in range(4):
            step()
            progress(None)
        clock.now += 1000  # what a technique does after its last step

    assert alongside(run, {"other": other}, clock) == {"own": (1, 2, 3), "other": (8, 9, 10)}
    assert clock.done == ["own", "other"] * 4


def test_a_figure_is_the_ratio_of_medians_and_a_goal_its_most():
    row = Row("limit", "what", "net", "peer", (9, 1, 2), (4, 8, 100), goal=0.25)
    assert row.figure == 0.25
    assert row.met
    assert not Row("limit", "what", "net", "peer", (2.01,), (8,), goal=0.25).met
    assert Row("limit", "what", "net", "peer", (1,), (2,)).met is None
    alone = Row("startup", "help", "", "", (0.2, 0.4, 0.3), goal=0.3)
    assert (alone.figure, alone.met) == (0.3, True)
    assert "missed" in str(Row("limit", "what", "net", "peer", (3,), (4,), goal=0.5))


@pytest.fixture
def found():
    return [
        Row("limit", "forward of 16", "net", "as made", (1.0, 2.0, 3.0), (4.0, 5.0, 4.0), 0.6, "a note"),
        Row("limit", "gradient", "net", "as made", (3.0,), (2.0,), 1.15),
        Row("startup", "pixelgrad --help", "", "", (0.2,), goal=0.3),
        Curve("growth", "time", "net", "images", (1, 2, 4), (0.1, 0.2, 0.4)),
    ]


def test_the_page_has_ratios_goals_and_what_was_left_out_and_the_json_every_number(tmp_path, found):
    asked = {"images": 16, "rounds": 5, "minutes": 1.0}
    page.write(tmp_path, machine(), asked, found, ["a peer is left out: it is not there"])
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| **0.50** | ≤ 0.60 | met | net | forward of 16 | as made | 2 s | 4 s | a note |" in text
    assert "| **1.50** | ≤ 1.15 | missed | net |" in text
    assert "| **0.20 s** | ≤ 0.30 s | met |" in text
    assert "Of 3 goals 2 are met." in text
    assert "A peer is left out: it is not there." in text
    record = json.loads((tmp_path / "benchmarks.json").read_text())
    first = record["rows"][0]
    assert (first["own"], first["other"], first["met"]) == ([1.0, 2.0, 3.0], [4.0, 5.0, 4.0], True)
    assert first["figure"] == median(first["own"]) / median(first["other"])
    assert record["curves"][0]["values"] == [0.1, 0.2, 0.4]
    assert record["machine"]["versions"]["torch"]
    with Image.open(tmp_path / "benchmarks.png") as image:
        assert image.size[0] > 1000
    assert len(list(tmp_path.iterdir())) == 3


def test_a_page_that_cannot_be_drawn_leaves_the_old_one(tmp_path, found, monkeypatch):
    (tmp_path / "benchmarks.json").write_text("old")
    monkeypatch.setattr(page, "picture", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.write(tmp_path, machine(), {"images": 1, "rounds": 1, "minutes": 0}, found, [])
    assert [path.name for path in tmp_path.iterdir()] == ["benchmarks.json"]
    assert (tmp_path / "benchmarks.json").read_text() == "old"


def test_benchmarks_are_loaded_without_their_peers_which_are_said_to_be_missing(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in (*PEERS, "lucent")]:
        monkeypatch.delitem(sys.modules, name)
    for name in (*PEERS, "lucent"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    for name in command.NAMES:
        monkeypatch.delitem(sys.modules, f"benchmarks.speed.{name}", raising=False)
        assert importlib.import_module(f"benchmarks.speed.{name}").rows
    said = []
    assert Setting(1, 1, None, None, said.append).peer("captum.attr") is None
    assert said[0].startswith("captum is left out: ")


def test_a_benchmark_that_fails_is_said_and_the_others_go_on(monkeypatch, found, capsys):
    def limit(_):
        yield found[0]
        raise ValueError("broken\nat length")

    modules = {"limit": limit, "startup": lambda _: iter(found[2:3])}

    def module(name):
        return type("Module", (), {"rows": staticmethod(modules[name.rpartition(".")[2]])})

    monkeypatch.setattr(command.importlib, "import_module", module)
    said = []
    seen, failed = command.run(("limit", "startup"), Setting(1, 1, None, None, said.append))
    assert seen == [found[0], found[2]]
    assert failed == ["limit"]
    assert said == ["limit has failed: ValueError: broken"]
    assert "0.50 (goal 0.60: met)" in capsys.readouterr().out
