"""What is imported when: torch and what it brings only where a network is wanted. Each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path

import pytest

import pixelgrad as pg
from pixelgrad import cli
from pixelgrad.cli import commands
from pixelgrad.cli.console import DEFAULT_MODEL
from pixelgrad.registry import VERBS, sources
from pixelgrad.studio import app as studio
from pixelgrad.studio.jobs import Desk
from pixelgrad.studio.networks import BUNDLED
from tests.studios import HOME, opened

SLOW = ("torch", "torchvision", "timm", "matplotlib")  # each takes as long as all the rest
# modules that have the name of a function of theirs
TWINS = [name for name in pg.__all__ if pg._HOME[name] == name]


def says(code: str) -> str:
    """What a program prints."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def imported(code: str, *names: str) -> list[str]:
    """Which of these modules a program has imported at its end."""
    last = f"\nimport json, sys\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"
    found: list[str] = json.loads(says(code + last).splitlines()[-1])
    return found


# ---------------------------------------------------------------------- import pixelgrad


def test_the_package_alone_imports_nothing_slow():
    assert imported("import pixelgrad", *SLOW, "typer", "rich", "PIL", "numpy", "skimage") == []


def test_a_network_is_loaded_and_differentiated_without_what_draws():
    code = "import pixelgrad as pg\npg.load, pg.gradient, pg.open_image, pg.Classifier"
    assert imported(code, *SLOW, "typer") == ["torch"]


def test_techniques_are_listed_without_what_draws_and_what_loads():
    code = "from pixelgrad.registry import surveys, techniques\ntechniques(), surveys()"
    assert imported(code, *SLOW, "typer") == ["torch"]


def test_all_names_are_there_and_are_those_of_their_modules():
    assert sorted(pg._HOME) == pg.__all__ == sorted(pg.__all__)
    for name, home in pg._HOME.items():
        assert getattr(pg, name) is getattr(import_module(f"pixelgrad.{home}"), name)
        assert getattr(pg, name).__module__ == f"pixelgrad.{home}"
    assert set(pg.__all__) <= set(dir(pg))


def test_dir_and_star_know_the_names_that_were_not_asked_for_yet():
    assert says("import pixelgrad as pg; print(set(pg.__all__) <= set(dir(pg)))") == "True\n"
    assert says("from pixelgrad import *; print(callable(gradient), callable(load))") == "True True\n"


def test_another_name_is_an_error():
    with pytest.raises(AttributeError, match="'pixelgrad' has no attribute 'lood'"):
        pg.lood  # noqa: B018 - the look-up is what is tested
    assert not hasattr(pg, "__path")


MODULES_FIRST = [f"import pixelgrad.{name}" for name in TWINS]
NAMES_FIRST = [f"pixelgrad.{name}" for name in TWINS]


@pytest.mark.parametrize(
    "lines",
    [
        [*MODULES_FIRST, *NAMES_FIRST],
        ["import pixelgrad", *NAMES_FIRST, *MODULES_FIRST],
        [f"from pixelgrad import {', '.join(TWINS)}", *MODULES_FIRST],
        [f"from pixelgrad.{name} import {name}" for name in TWINS],
    ],
    ids=["modules first", "names first", "from the package", "from the modules"],
)
def test_a_name_is_the_function_whatever_was_imported_first(lines):
    check = [
        "import pixelgrad, types",
        *(f"assert type(pixelgrad.{name}) is types.FunctionType" for name in TWINS),
        *(f"from pixelgrad import {name} as its; assert its is pixelgrad.{name}" for name in TWINS),
    ]
    assert says("\n".join([*lines, *check])) == ""


def test_the_module_of_a_function_is_imported_by_its_name():
    assert [callable(import_module(f"pixelgrad.{name}")) for name in TWINS] == [False] * len(TWINS)
    assert len(TWINS) == 4


# ---------------------------------------------------------------------- the command line


def program(*arguments: str) -> str:
    """A program that runs the command line and goes on after it."""
    return (
        f"import sys\nsys.argv = {['pixelgrad', *arguments]!r}\nfrom pixelgrad.cli import main\n"
        "try: main()\nexcept SystemExit as ended: assert not ended.code, ended.code"
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_list_of_commands_and_the_version_import_nothing_slow(option):
    assert imported(program(option), *SLOW, "numpy", "PIL", "fastapi") == []


def test_the_help_of_the_studio_imports_nothing_slow():
    assert imported(program("studio", "--help"), *SLOW) == []


def test_the_list_says_of_each_command_what_its_own_help_says(done):
    """It reads docstrings from files that it does not run; the command itself has them from Python."""
    listed = commands.Commands(name="pixelgrad").commands
    assert list(listed) == [name for names in commands.MODULES.values() for name in names] + list(VERBS)
    for name, stub in listed.items():
        made = commands._made(name)
        assert made.help == stub.help
        assert made.help
        assert " ".join(made.help.split())[:40] in " ".join(done(name, "--help").split())


def test_every_module_with_commands_is_in_the_list():
    others = {"__init__", "commands", "console", "survey"}
    files = {file.stem for file in Path(cli.__file__).parent.glob("*.py")}
    assert files - others == set(commands.MODULES)


def test_a_command_that_is_not_there_is_told_with_the_nearest(run):
    code, out, err = run("shwo")
    assert (code, out) == (2, "")
    assert "Did you mean 'show'?" in err


# ---------------------------------------------------------------------- the studio


def test_the_page_and_what_it_begins_with_need_nothing_slow(tmp_path):
    code = f"""
from pathlib import Path
from starlette.testclient import TestClient
from pixelgrad.studio.serve import BUNDLED, Desk, Networks, Store, app

made = app(Networks(BUNDLED, None, "cpu"), Store(Path({str(tmp_path)!r})), Desk())
client = TestClient(made, "{HOME}")  # outside its life, in which it would begin to load
for path in ("/", "/page/main.js", "/api/about", "/api/samples/sample:cat.jpg"):
    assert client.get(path).status_code == 200, path
"""
    assert imported(code, *SLOW) == []


def test_what_needs_a_network_waits_while_the_page_is_there(tmp_path):
    desk, loaded = Desk(), threading.Event()
    desk.ask(loaded.wait)  # as if torch took so long
    with opened(tmp_path, desk) as client, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.get, path) for path in ("/api/techniques", "/api/models/tinynet/layers")]
        asked.append(pool.submit(client.post, "/api/pictures", json={"sample": "sample:cat"}))
        try:
            assert client.get("/").status_code == 200
            about = client.get("/api/about").json()
            assert about["models"] == [{"name": "tinynet", "classes": None, "size": None}]
            assert wait(asked, timeout=0.2).done == set()
        finally:
            loaded.set()
        assert [answer.result(60).status_code for answer in asked] == [200, 200, 201]


def test_where_torch_cannot_be_imported_whoever_waits_is_told(tmp_path, monkeypatch):
    def missing():
        raise ImportError("libtorch.so: no such file")

    monkeypatch.setattr(studio, "_rest", missing)
    with opened(tmp_path) as client:
        answer = client.get("/api/techniques")
        assert (answer.status_code, answer.json()["error"]) == (500, "something went wrong here: ImportError")
        assert client.get("/").status_code == 200


def test_the_bundled_networks_are_those_whose_source_is_one_network():
    assert sorted(BUNDLED) == [s.name for s in sources() if not s.prefix and s.names() == [s.name]]
    assert BUNDLED[0] == DEFAULT_MODEL
