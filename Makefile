# `make serve` and `make test` need only Python 3.11 or newer; they install what is missing once.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS ?=
# Known vulnerabilities of a pinned version that stay, by their id; a comment says why for each.
ACCEPTED :=

.PHONY: install serve test slow coverage docs monitoring browser clients contract audit sbom lint types words openapi bench

install: .venv/.serve-installed

serve: .venv/.serve-installed
	$(BIN)/mumic serve $(ARGS)

test: .venv/.dev-installed
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Training, several worker processes, and the commands of the docs.
slow: .venv/.dev-installed
	$(BIN)/pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Both with line and branch coverage of app/ and mumic/, server processes included.
coverage: .venv/.dev-installed
	$(BIN)/pytest -m 'not monitoring and not browser and not clients' \
		-n 2 --dist loadfile --no-loadscope-reorder --cov=app --cov=mumic $(ARGS)

# Writes the generated reference pages, then the site to build/site; warnings are errors.
docs: .venv/.docs-installed
	$(BIN)/python -m tools.reference
	$(BIN)/mkdocs build --strict

# Needs prometheus and promtool on PATH; CONTRIBUTING.md says how to get them.
monitoring: .venv/.dev-installed
	$(BIN)/pytest -m monitoring $(ARGS)

# Needs chromium on PATH.
browser: .venv/.browser-installed
	$(BIN)/pytest -m browser $(ARGS)

# Needs node 20.19 or newer and npm on PATH.
clients: .venv/.dev-installed build/clients/.installed
	$(BIN)/pytest -m clients $(ARGS)

lint: .venv/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev-installed
	$(BIN)/mypy

# Prints file:line: 'term' -> replacement for each retired term of tests/support/retired_terms.py.
words: $(BIN)/python
	$(BIN)/python -m tests.support.retired_terms

openapi: .venv/.serve-installed
	$(BIN)/mumic openapi > openapi.yaml

bench: .venv/.bench-installed
	$(BIN)/python -m benchmarks.throughput.side_by_side $(ARGS)

contract: .venv/.bench-installed
	$(BIN)/python -m benchmarks.contract $(ARGS)

audit: .venv/.audit-installed
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip \
		$(ACCEPTED:%=--ignore-vuln %)

sbom: .venv/.audit-installed
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml $(BIN)/python \
		| $(BIN)/python -m deploy.bill_of_materials sbom.json

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/.serve-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e .
	@touch $@

.venv/.dev-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e '.[dev]'
	@touch $@ .venv/.serve-installed

.venv/.browser-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e '.[browser]'
	@touch $@ .venv/.serve-installed .venv/.dev-installed

build/clients/.installed: tests/clients/package.json tests/clients/requirements.txt | $(BIN)/python
	@command -v node > /dev/null && command -v npm > /dev/null \
		|| { echo "make clients needs node 20.19 or newer and npm on PATH" >&2; exit 1; }
	rm -rf build/clients
	mkdir -p build/clients
	$(PYTHON) -m venv build/clients/python
	build/clients/python/bin/pip install --quiet --disable-pip-version-check \
		--requirement tests/clients/requirements.txt
	cp tests/clients/package.json build/clients
	npm --prefix build/clients install --no-audit --no-fund --no-package-lock --ignore-scripts
	@touch $@

.venv/.docs-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e '.[docs]'
	@touch $@ .venv/.serve-installed

.venv/.bench-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e '.[bench]'
	@touch $@ .venv/.serve-installed

.venv/.audit-installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv (once; torch is large)"
	$(INSTALL) -e '.[audit]'
	@touch $@ .venv/.serve-installed
