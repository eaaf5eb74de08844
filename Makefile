# The two commands are `make demo` and `make test`; `make help` lists the others.

PYTHON ?= python3

.PHONY: help lock setup demo test verify bench cost engine soak faults fuzz accuracy repertoire mnist kfac clean

help:
	@echo "make demo      set up, then train the digits net on a virtual 8051 and watch it"
	@echo "make test      set up, then run every check and test"
	@echo "make setup     the virtual environment .venv, compilers and simulators, if missing"
	@echo "make verify    xor, iris and digits on every virtual board, in every combination"
	@echo "make soak      a million seeded faults between host and board; 10,000 with virtual boards"
	@echo "make fuzz      a thousand drawn nets, a hundred million frames, a million files of each kind"
	@echo "make faults    faults put into firmware on purpose, each to be found by bisect"
	@echo "make bench     cycles, code and RAM on every virtual board, against bench/history.csv"
	@echo "make cost      what build says that a step costs, against what boards count: bench/cost.md"
	@echo "make engine    the native engine against numpy, float32 in C and PyTorch: bench/engine.md"
	@echo "make accuracy  accuracy against float32, written to docs/accuracy.md"
	@echo "make repertoire  the same for each member, written to docs/repertoire-accuracy.md"
	@echo "make mnist     the whole of MNIST, from DATA=folder: see examples/mnist"
	@echo "make kfac      epochs of K-FAC and of the best plain SGD, on an 8051 and a Cortex-M"
	@echo "make lock      the newest allowed version of every Python package, by digest: requirements.lock"
	@echo "make clean     remove what builds and tests made, but not .venv"

setup:
	@$(PYTHON) scripts/setup.py

demo: setup
	@scripts/demo

test:
	@$(PYTHON) scripts/setup.py --tests
	@scripts/check

verify: setup
	NNHOST_FULL_MATRIX=1 .venv/bin/pytest -n 2 tests/cross tests/kernels/test_cortex_m.py \
		tests/reference/test_semantics.py tests/reference/test_rounding.py

soak: setup
	NNHOST_FAULTS=1000000 NNHOST_BOARD_FAULTS=10000 NNHOST_KILLED_RUNS=100 .venv/bin/pytest -n 2 -s \
		tests/trust tests/cross/test_bad_line.py tests/cross/test_power_cuts.py

fuzz: setup
	NNHOST_DRAWN_NETS=1000 .venv/bin/pytest -n 2 tests/arithmetic/test_readings.py
	NNHOST_FUZZ_FRAMES=100000000 NNHOST_FUZZ_FILES=1000000 .venv/bin/pytest -n 2 tests/fuzz
	NNHOST_MALFORMED=10000 .venv/bin/pytest -n 2 tests/cross/test_malformed.py
	HYPOTHESIS_PROFILE=fuzz .venv/bin/pytest -n 2 tests/arithmetic/test_ir.py tests/project tests/data

faults: setup
	NNHOST_ALL_FAULTS=1 .venv/bin/pytest -n 2 -s tests/cross/test_bisect.py

lock: setup
	.venv/bin/pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip compile --universal --python-version 3.10 --generate-hashes --extra dev \
		--no-header --quiet --upgrade --output-file requirements.lock pyproject.toml

bench: setup
	.venv/bin/python bench/boards.py

cost: setup
	.venv/bin/python bench/cost.py

engine: setup
	.venv/bin/python bench/engine.py

accuracy: setup
	.venv/bin/python bench/accuracy.py

mnist: setup
	.venv/bin/python bench/mnist.py $(or $(DATA),examples/mnist/data)

repertoire: setup
	.venv/bin/python bench/repertoire.py

kfac: setup
	.venv/bin/python bench/kfac.py

clean:
	rm -rf build dist .pio .nnhost examples/*/build examples/*/.pio examples/*/.nnhost
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
