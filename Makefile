# Every target sets up what it needs: a virtual environment with the versions of requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo
DATA ?= ../shared/data/bridge_dataset/1.0.0

# Tests that need no source, Beam, torch, server or browser: what is changed most, in under a minute.
QUICK := tests/schemas tests/relabel/goals tests/relabel/rewards tests/relabel/frames tests/test_*.py

.PHONY: help demo playroom figures figures-quick bridge bench test quick torture lint docs clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(READY): setup.py requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip setuptools wheel
	$(BIN)/pip install -qq --requirement requirements.lock
	$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(READY)  ## Collect playroom episodes, relabel them, check the rewards, train an agent, look
	$(BIN)/python -m examples.playroom.demo --out $(DEMO)

playroom: $(READY)  ## The long version: agents of VLM, true and no rewards, three seeds each, and figure 3
	$(BIN)/python -m examples.playroom.collect --out $(DEMO)/free/1.0.0 --episodes 4800 --seed 41 \
		--mixture free-play
	$(BIN)/vlm-relabel relabel --source $(DEMO)/free/1.0.0 --camera image --threshold 0.95 \
		--encoder local-dir:examples/playroom/encoders/small \
		--goals examples/playroom/goals.yaml --store $(DEMO)/free.store
	$(BIN)/vlm-relabel build-goals $(DEMO)/free.store --name gc1 --truth truth --discount 0.95
	$(BIN)/python -m examples.playroom.recipe --store $(DEMO)/free.store --out $(DEMO)/recipe --seeds 3
	$(BIN)/python -m examples.playroom.figure3 --out $(DEMO)/figure3.png \
		--runs $(DEMO)/recipe/vlm-0 $(DEMO)/recipe/vlm-1 $(DEMO)/recipe/vlm-2

figures: $(READY)  ## The paper's figures in two worlds: hours; goes on where it was stopped; docs/results.md
	$(BIN)/python -m examples.figures --work $(DEMO)/figures

figures-quick: $(READY)  ## The same in minutes, to see that everything runs; pages and records in DEMO/figures-quick
	$(BIN)/python -m examples.figures --quick --work $(DEMO)/figures-quick

bridge: $(READY)  ## Inspect and relabel a BridgeData directory: make bridge DATA=DIR ENCODER=NAME
	$(BIN)/python -m examples.bridge --data $(DATA) --out $(DEMO)/bridge.store $(if $(ENCODER),--encoder $(ENCODER))

bench: $(READY)  ## Every benchmark in quick form: shows that all run
	$(BIN)/python -m benchmarks --out $(DEMO)/bench

test: $(READY)  ## All tests, the long ones and the documentation's examples included
	$(BIN)/python -m pytest -n 2

quick: $(READY)  ## The tests of formats, goals, rewards and frames: under a minute on two cores
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not server and not browser" $(QUICK)

torture: $(READY)  ## Kill every command at random moments and look whether anything is lost; some ten minutes
	$(BIN)/python -m tests.torture --kills 100 --seed 0

lint: $(READY)  ## Style and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## Run every example of README and docs
	$(BIN)/python -m pytest tests/docs

clean:  ## Remove what the targets made, but not the environment
	rm -rf $(DEMO) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
