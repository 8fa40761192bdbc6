PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Layers of dependencies (extras of pyproject.toml) that `make install`, `repro` and `ui` need.
EXTRAS ?= train,infants,tracking

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: repro test lint ui install clean

repro: $(VENV)/.has-$(EXTRAS)  ## set right what a kill left, then `dvc repro`
	crywatch repro

test: $(VENV)/.has-test  ## all tests; those that rebuild the whole DAG go beside the others
	@pytest -m slow > .pytest-slow.log 2>&1 & slow=$$!; \
	trap 'kill $$slow; exit 130' INT TERM; \
	pytest -m 'not slow'; rest=$$?; \
	wait $$slow; whole=$$?; cat .pytest-slow.log; rm -f .pytest-slow.log; \
	exit $$(( rest | whole ))

lint: $(VENV)/.has-test  ## style, imports between the rooms, and types
	ruff check src pipelines studies tests benchmarks
	ruff format --check src pipelines studies tests benchmarks
	lint-imports
	mypy

ui: $(VENV)/.has-$(EXTRAS)  ## the MLflow UI on http://127.0.0.1:5000
	crywatch ui

install: $(VENV)/.has-$(EXTRAS)

# A stamp for each choice of layers; what they share is installed once.
$(VENV)/.has-%: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' \
	  --constraint constraints.txt && \
	echo "environment for $* ready in $$(( $$(date +%s) - start )) s"
	@touch $@

clean:  ## remove what `dvc repro` and the environment made
	rm -rf $(VENV) data/work mlflow.db mlartifacts
