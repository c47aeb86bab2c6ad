"""The example of CONTRIBUTING.md is a whole technique: found, run and tested without another change."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PLUGIN = "import pixelgrad.show\npixelgrad.show.__path__.append({folder!r})\n"


@pytest.fixture
def run(tmp_path):
    """Runs Python with the example's file among those of `show/`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# src/pixelgrad/show/gradient_norm\.py\n.*?)```", text, re.DOTALL)
    folder = tmp_path / "show"
    folder.mkdir()
    (folder / "gradient_norm.py").write_text(code, encoding="utf-8")
    (tmp_path / "with_example.py").write_text(PLUGIN.format(folder=str(folder)), encoding="utf-8")

    def python(code, *arguments, cwd=ROOT):
        start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import with_example\n"
        command = [sys.executable, "-c", start + code, *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)

    return python


def test_example_is_a_command(run, tmp_path):
    done = run("from pixelgrad.cli import main; main()", "show", "gradient-norm", "sample:cat",
               "--target", "tabby", "--power", "0.5", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "wrote cat-gradient-norm.png" in done.stdout
    assert (tmp_path / "cat-gradient-norm.png").is_file()


def test_a_setting_of_the_example_has_its_range(run, tmp_path):
    done = run("from pixelgrad.cli import main; main()", "show", "gradient-norm", "sample:cat",
               "--power", "5", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert "--power" in done.stderr


def test_contract_tests_find_the_example(run):
    # in this one process: others would not know of the example
    options = ["tests/test_contract.py", "-k", "gradient-norm", "--numprocesses=0"]
    code = f"import pytest; sys.exit(pytest.main({options}))"
    done = run(code)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
