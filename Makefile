# make demo    install, and make the tour: pixelgrad-tour/index.html
# make test    install for development, check, and run the whole test suite
# make check   lint, format, types
# make bench   how fast it is, beside others: docs/benchmarks.md; options in BENCH="--squeezenet FILE --photos FOLDER"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LUCENT := .venv-lucent

.PHONY: demo test check browser bench clean

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

bench: $(VENV)/installed-bench $(LUCENT)/tried
	$(BIN)/python -m benchmarks $(BENCH)

# the marker files are younger than pyproject.toml once its dependencies are there
$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pixelgrad needs Python 3.11 or newer; this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[measure]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[bench]'
	@touch $@

# Lucent wants old versions of others: an environment of its own, which finds torch in this one; the benchmarks go on without
$(LUCENT)/tried: $(VENV)/installed
	rm -rf $(LUCENT)
	$(BIN)/python -m venv $(LUCENT)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	  > $$($(LUCENT)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/shared.pth
	$(LUCENT)/bin/python -m pip install --disable-pip-version-check torch-lucent || echo "Lucent cannot be installed"
	@touch $@

clean:
	rm -rf $(VENV) $(LUCENT) pixelgrad-tour
