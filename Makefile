# The two commands are `make demo` and `make test`; `make help` lists the others.

PYTHON ?= python3

.PHONY: help setup demo test fuzz accuracy clean

help:
	@echo "make demo      set up, then train the digits net on a virtual 8051 and watch it"
	@echo "make test      set up, then run every check and test"
	@echo "make setup     the virtual environment .venv, compilers and simulators, if missing"
	@echo "make fuzz      thousands of drawn nets instead of hundreds"
	@echo "make accuracy  accuracy against float32, written to docs/accuracy.md"
	@echo "make clean     remove what builds and tests made, but not .venv"

setup:
	@$(PYTHON) scripts/setup.py

demo: setup
	@scripts/demo

test:
	@$(PYTHON) scripts/setup.py --tests
	@scripts/check

fuzz: setup
	HYPOTHESIS_PROFILE=fuzz .venv/bin/pytest -n 2 -m fuzz

accuracy: setup
	.venv/bin/python scripts/accuracy.py

clean:
	rm -rf build dist .pio .nnhost examples/*/build examples/*/.pio examples/*/.nnhost
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
