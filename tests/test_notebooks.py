"""The notebooks in examples/: they run, and the translation keeps in step with the English one."""

from __future__ import annotations

import base64
import io
import re

import nbclient
import nbformat
import pytest
from PIL import Image

from tests.conftest import ROOT

ENGLISH = ROOT / "examples" / "network_visualization.ipynb"
CHINESE = ENGLISH.with_suffix(".zh.ipynb")


@pytest.fixture(params=[ENGLISH, CHINESE], ids=["en", "zh"])
def notebook(request):
    return nbformat.read(request.param, 4)


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def formulas(cell):
    return re.findall(r"\$\$.+?\$\$|`[^`]+`", cell.source, re.DOTALL)


def pictures(cell):
    """The pictures that a cell shows."""
    for output in cell.outputs:
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                yield Image.open(io.BytesIO(base64.b64decode(output.data[kind])))


# the same code, so that running one of them runs both
def test_the_translation_has_the_same_cells():
    english, chinese = (nbformat.read(path, 4) for path in (ENGLISH, CHINESE))
    assert code(english) == code(chinese)
    assert [c.cell_type for c in english.cells] == [c.cell_type for c in chinese.cells]
    for a, b in zip(english.cells, chinese.cells, strict=True):
        if a.cell_type == "markdown":
            assert formulas(a) == formulas(b)
            assert a.source.count("\n#") == b.source.count("\n#")
            assert re.search("[\u4e00-\u9fff]", b.source), b.source
            assert not re.search("[\u4e00-\u9fff]", a.source), a.source
        else:
            assert a.outputs == b.outputs


def test_outputs_are_kept_and_small(notebook):
    nbformat.validate(notebook)
    assert len(nbformat.writes(notebook)) < 1_500_000
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert all(output.output_type not in ("error", "stderr") for cell in cells for output in cell.outputs)
    assert sum(1 for cell in cells for _ in pictures(cell)) >= 12


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(ENGLISH, 4)
    kept = [len(list(pictures(cell))) for cell in notebook.cells if cell.cell_type == "code"]
    client = nbclient.NotebookClient(
        notebook, timeout=170, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    found = [len(list(pictures(cell))) for cell in notebook.cells if cell.cell_type == "code"]
    assert found == kept
    for cell in notebook.cells:
        for picture in pictures(cell) if cell.cell_type == "code" else ():
            assert max(hi - lo for lo, hi in picture.convert("RGB").getextrema()) > 100  # and not a blank
