# Everything a person or a machine does with this project, by name. What `make demo` and `make test` need: Python 3.11 or
# newer with its venv module and headers, make, gcc, the C library's headers, and PyPI (or an index that pip is set up for).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := build/demo

.PHONY: help install demo test test-system lint format types layers vectors bench bench-micro bench-system bench-rivals \
	man clean

help:
	@echo "make demo          snapshot real trees of this machine, twice, restore, compare"
	@echo "make test          all tests"
	@echo "make lint types layers   the other checks that a change has to pass"
	@echo "make bench         compare with every rival on PATH (make bench-rivals installs some)"
	@echo "make bench-micro   micro-benchmarks"
	@echo "make test-system   all tests with real package managers and roots; as root, minutes, packages by apt"
	@echo "make bench-system  what audits find beside other tools, what system snapshots cost; writes the page"
	@echo "make man           man pages into build/man"

install: $(STAMP)

# The kernel's sources are in the list because an editable install does not rebuild by itself.
$(STAMP): pyproject.toml setup.py $(wildcard snapstore/kernel/*.c snapstore/kernel/*.h)
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python -m bench.demo --work $(DEMO)

test: install
	$(BIN)/pytest

# Roots are built once, with debootstrap and this machine's own package sources, and kept in the user's cache.
test-system: install
	SNAPSTORE_SYSTEM_TESTS=whole $(BIN)/pytest tests/system

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

vectors: install
	$(BIN)/python -m tests.vectors.regenerate --verify

bench: install
	$(BIN)/python -m bench.run --write-docs $(BENCH)

bench-micro: install
	$(BIN)/pytest bench --benchmark-only

bench-system: install
	$(BIN)/python -m bench.mutations
	$(BIN)/python -m bench.systems

bench-rivals:
	sh bench/install_rivals.sh

man: install
	mkdir -p build/man
	$(BIN)/python -m snapstore.cli.manpages build/man

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
