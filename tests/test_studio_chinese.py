"""The Chinese of what the server says about techniques: nothing is without it, and nothing of it is left over."""

from __future__ import annotations

import ast
import functools
import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest

import pixelgrad as pg
from pixelgrad.registry import settings, surveys, techniques
from pixelgrad.trust import dependent, faithful, steady

describe = pytest.importorskip(
    "pixelgrad.studio.describe", reason="needs the studio extra: pip install 'pixelgrad[studio]'"
)

FILE = Path(describe.__file__).parent / "page" / "chinese_techniques.js"
NUMBER = r"(-?\d+(?:,\d{3})*(?:\.\d+)?)"
COMPOSED = {"labelled", "a unit sees the whole picture"}  # put together from smaller words
# what takes a while is done a few times
QUICK = {"steps": 4, "samples": 4, "points": 4, "tolerance": 0.1}
MORE = {
    "show/deconvnet": {"layer": "layer2", "top": 1},
    "show/occlusion": {"size": 12, "stride": 10},
    "show/segmentation": {"box": "1,1,40,40"},
}
# the page's own words.js, whose `told` is asked; node has no browser's language and memory
ASK = """
globalThis.localStorage = { getItem: () => "zh", setItem() {} };
import("./words.js").then(({ told }) => console.log(JSON.stringify(JSON.parse(process.argv[1]).map(told))));
"""


@functools.cache
def read() -> list[tuple[str, str]]:
    """The file's pairs: JSON after the beginning of its one line of code."""
    code = FILE.read_text(encoding="utf-8").partition("export const techniques = ")[2]
    pairs: list[tuple[str, str]] = json.loads(
        code.strip().removesuffix(";"), object_pairs_hook=lambda pairs: pairs
    )
    return pairs


def key(text: str) -> str | None:
    """The English text of the file that the page finds for this one: the same, or with blanks for numbers and names."""
    text = " ".join(text.split())
    if text in dict(read()):
        return text
    for english, _ in read():
        pattern = re.escape(english).replace(r"\#", NUMBER).replace("\\~", "~").replace("~", "(.+?)")
        if re.search("[#~]", english) and re.fullmatch(pattern, text):
            return english
    return None


@functools.cache
def constants() -> tuple[frozenset[str], str]:
    """Every text in the package's source, and all of them in one."""
    files = Path(pg.__file__).parent.rglob("*.py")
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = frozenset(node.value for node in nodes if isinstance(node.value, str))
    return texts, "\n".join(texts)


def said(english: str) -> bool:
    """Whether the source says this still: as a text, or in one, every piece of it between numbers and names."""
    pieces = [piece.strip(" %×") for piece in re.split("[#~]", english)]
    texts, together = constants()
    inside = " " in english and all(piece in together for piece in pieces)
    return english in texts | COMPOSED or inside


def offered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What techniques and surveys say about themselves, with a reason why one cannot be used."""
    monkeypatch.setattr(describe, "find_spec", lambda name: None)
    found = {about["available"] for about in describe.all_techniques([])} - {True}
    for one in [*techniques().values(), *surveys().values()]:
        found |= {one.title(), one.__doc__}
        own = [s for s in settings(one) if s.role not in describe.HIDDEN]
        found |= {said for s in own for said in (s.help, s.unit, s.name)}
    return found - {"", "target"}  # which is "class" to the page


def card() -> set[str]:
    """Every word of a trust card: names and notes of its rows, and the parts of its sentence."""
    rows = [
        call.args
        for call in ast.walk(ast.parse(Path(faithful.__code__.co_filename).read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Row"
    ]
    assert len(rows) == 5
    found = {part.value for row in rows for part in (row[0], row[-1]) if isinstance(part, ast.Constant)}
    firsts = [faithful(gap, edges, fall) for gap, edges, fall in product((-1, 0, 0.5, 1), (0, 0.7), (0, 1))]
    others = [dependent(v) for v in (None, 0, 1)] + [steady(v) for v in (None, 0.1, 0.45, 1.2)]
    return found | {f"This map {words}" for words in firsts} | {f"it {words}" for words in others}


@pytest.fixture(scope="module")
def made() -> tuple[set[str], set[str]]:
    """What results say: the names of their facts, and the parts of the titles of their pictures."""
    model = pg.load("tinynet")
    pixels = pg.open_image("sample:cat", model)
    facts, titles = set(), set()
    for name, technique in techniques().items():
        if describe.available(technique):
            continue
        names = [s.name for s in settings(technique)]
        quick = {k: v for k, v in QUICK.items() if k in names} | MORE.get(name, {})
        result = pg.make(name, **quick).run(model, pixels)
        own = result.report.get("images", [{}])[0]
        facts |= set(result.report) - {"images"} | (set(own) if isinstance(own, dict) else set())
        titles |= {part for title in result.titles for part in re.split(r"; |: ", title)}
    return facts, titles


def test_everything_that_techniques_and_cards_say_is_there_in_chinese(monkeypatch):
    missing = sorted(text for text in offered(monkeypatch) | card() if key(text) is None)
    assert not missing, f"{FILE.name} lacks: " + "; ".join(map(repr, missing))


def test_the_names_of_all_facts_are_there_in_chinese(made):
    missing = sorted(made[0] - dict(read()).keys())
    assert not missing, f"{FILE.name} lacks: " + "; ".join(map(repr, missing))


def test_nothing_in_chinese_is_left_over_or_there_twice(made, monkeypatch):
    pytest.importorskip("cv2", reason="needs the measure extra, for the facts of a segmentation")
    names = [english for english, _ in read()]
    assert len(names) == len(set(names))
    facts, titles = made
    used = {key(text) for text in offered(monkeypatch) | card() | facts | titles}
    left = [english for english in names if english not in used and not said(english)]
    assert not left, f"nothing says any more: {left}"


def test_numbers_and_what_is_typed_stay_as_they_are():
    typed = re.compile(r"`[^`]*`|\"[^\"]*\"|\b[A-Z]{3,}\b|λ_?\w*|[±σ%]", re.ASCII)
    for english, chinese in read():
        assert set(typed.findall(english)) <= set(typed.findall(chinese)), english
        assert sorted(re.findall(NUMBER, english)) == sorted(re.findall(NUMBER, chinese)), english
        assert re.findall("[#~]", english) == re.findall("[#~]", chinese), english
        assert chinese.strip() == chinese != ""
        assert not re.search(r"[一-鿿][,;:()]", chinese.replace("行,列", "").replace("左,上,右,下", "")), (
            chinese
        )


def test_the_page_puts_parts_numbers_and_names_in_their_places(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node on the PATH")
    for name in ("words", "english", "chinese", "chinese_techniques"):
        shutil.copy(FILE.with_name(f"{name}.js"), tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    known = dict(read())
    moved = "it moves by #% of its length under noise that nobody sees"
    expected = {
        "Saliency": known["Saliency"],
        "no such words: at all; 3 (here).": "no such words: at all; 3 (here).",
        "channel 12": known["channel #"].replace("#", "12"),
        "This map finds what the class depends on worse than a random order does; "
        "it changes when the network forgets; it moves by 36% of its length under noise that nobody sees.": "；".join(
            [
                known["This map finds what the class depends on worse than a random order does"],
                known["it changes when the network forgets"],
                known[moved].replace("#", "36"),
            ]
        )
        + "。",
        "goldfish 33.3%; off by 0.2% after 512 steps": "goldfish 33.3%；"
        + known["off by #% after # steps"].replace("#", "0.2", 1).replace("#", "512"),
        "-0.1 to 1,024": known["# to #"].replace("#", "-0.1", 1).replace("#", "1,024"),
        "layer1": "layer1",
    }
    command = [node, "-e", ASK, json.dumps(list(expected))]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    assert json.loads(answer) == list(expected.values())
