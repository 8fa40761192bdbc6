PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: repro test lint ui install clean

repro: $(STAMP)  ## rebuild everything that params.yaml asks for
	dvc repro

test: $(STAMP)  ## all tests
	pytest

lint: $(STAMP)
	ruff check src pipelines tests benchmarks
	ruff format --check src pipelines tests benchmarks

ui: $(STAMP)  ## the MLflow UI on http://127.0.0.1:5000
	crywatch ui

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' \
	  --constraint constraints.txt && \
	echo "environment ready in $$(( $$(date +%s) - start )) s"
	@touch $@

clean:  ## remove what `dvc repro` and the environment made
	rm -rf $(VENV) data/work mlflow.db mlartifacts
