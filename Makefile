# Every target sets up what it needs: a virtual environment with the versions of requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo
DATA ?= ../shared/data/bridge_dataset/1.0.0

.PHONY: help demo bridge test lint docs clean

help:  ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): setup.py requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip setuptools wheel
	$(BIN)/pip install -qq --requirement requirements.lock
	$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(READY)  ## Collect playroom episodes, relabel them, measure the rewards against the truth
	$(BIN)/python -m examples.playroom.demo --out $(DEMO)

bridge: $(READY)  ## Inspect and relabel a BridgeData directory: make bridge DATA=DIR ENCODER=NAME
	$(BIN)/python -m examples.bridge --data $(DATA) --out $(DEMO)/bridge.store $(if $(ENCODER),--encoder $(ENCODER))

test: $(READY)  ## All tests, the long ones and the documentation's examples included
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## Style and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## Run every example of README and docs
	$(BIN)/python -m pytest tests/docs

clean:  ## Remove what the targets made, but not the environment
	rm -rf $(DEMO) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
