# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
WORKERS ?= 2
CC_FOUND := $(shell command -v cc || command -v clang || command -v gcc)

.PHONY: help demo test test-slow lint types format docs site goldens clean
help: ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt -e '.$(if $(CC_FOUND),,[cc])'
	@touch $@

$(VENV)/dev: $(VENV)/demo
	$(PIP) install --quiet -c constraints.txt -e '.[dev,cc]'
	$(PIP) install --quiet --pre -c constraints.txt tflite-micro
	@touch $@

demo: $(VENV)/demo ## classifies a photograph with the trained network that comes with Rillet
	@$(BIN)/rillet run

test: lint types site ## linters, types, and the fast tests
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

test-slow: $(VENV)/dev ## long fuzzing, whole networks under sanitizers
	$(BIN)/pytest -n $(WORKERS) -m slow

lint: $(VENV)/dev ## style and the order of floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports > .import_linter.log || (cat .import_linter.log; exit 1)

types: $(VENV)/dev ## pyright, strict
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/dev ## formats the source
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev ## writes the generated pages (docs/cli.md, docs/api.md, notebooks) and the site in site/
	$(BIN)/python docs/generate.py
	$(MAKE) site

site: $(VENV)/dev ## builds the site, strictly: a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

goldens: $(VENV)/dev ## writes tests/golden and the outputs in the docs anew; read the diff
	$(BIN)/pytest -q -n $(WORKERS) -m "not slow" --update-golden
	$(BIN)/python docs/generate.py

clean: ## removes what the targets above made
	rm -rf $(VENV) .import_linter.log .pytest_cache .ruff_cache .hypothesis build dist site
