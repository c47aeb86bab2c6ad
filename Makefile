# make demo    install, and make the tour: pixelgrad-tour/index.html
# make test    install for development, check, and run the whole test suite
# make check   lint, format, types

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check browser clean

demo: $(VENV)/installed
	$(BIN)/pixelgrad tour

test: check browser
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the studio's page is tested in a real browser; where none can be had those tests are skipped, and say so
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium for the tests of the studio's page" && apt-get install -y -qq chromium >/dev/null 2>&1; } \
	  || echo "no Chromium: the tests of the studio's page will be skipped (Debian: apt-get install chromium)"

# the marker files are younger than pyproject.toml once its dependencies are there
$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pixelgrad needs Python 3.11 or newer; this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[measure]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) pixelgrad-tour
