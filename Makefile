# isotherm: everything a fresh machine needs is here. Python >= 3.11, a C++ compiler and make are enough.
#
#   make demo            install what the demo needs and run it
#   make test            the whole test suite
#   bash .ci/run         what continuous integration runs

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON      ?= python3
VENV        ?= .venv
OUT         ?= out
# Extra words for every pip install, e.g. PIP_ARGS="--extra-index-url ..." for another build of torch.
PIP_ARGS    ?=
# Extra words for pytest, e.g. PYTEST_ARGS="-k coupling -x". Workers: JOBS=0 runs in one process.
PYTEST_ARGS ?=
JOBS        ?= 2
# Kernel tests under sanitizers: what reads and writes at the edges. Empty runs them all, in a quarter of an hour.
SANITIZE_ARGS ?= -k "binding or odd_sizes or empty or coincident or forbidden or sweeps"
# Extra words for the timings, e.g. BENCH_ARGS="--rounds 10 --threads 1,4".
BENCH_ARGS  ?=

# Threads that wait by spinning fight for the cores as soon as anything else runs on the machine.
export OMP_WAIT_POLICY ?= PASSIVE

BIN := $(VENV)/bin
PIP_INSTALL := -m pip install -qq --disable-pip-version-check -c constraints.txt
PINS := pyproject.toml constraints.txt
# $(call install,ENVIRONMENT,WHAT,ALSO): what builds the package comes first and from the pins, so that building it
# resolves nothing on its own. The compiled kernels take about a minute.
define install
	@echo "Installing $(2) into $(1), from the pins in constraints.txt (torch is large: a minute or more) ..."
	$(1)/bin/python $(PIP_INSTALL) $(PIP_ARGS) scikit-build-core nanobind cmake ninja $(3)
	$(1)/bin/python $(PIP_INSTALL) $(PIP_ARGS) --no-build-isolation -e '.$(patsubst isotherm%,%,$(2))'
endef

# ------------------------------------------------------------------------------------------ environments

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "isotherm needs Python >= 3.11, got $$($(PYTHON) --version 2>&1). Set PYTHON=python3.12 or similar." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(PINS) | $(BIN)/python
	$(call install,$(VENV),isotherm[demo])
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(call install,$(VENV),isotherm[dev])
	@touch $(VENV)/.demo $@

# The base install: torch, numpy, and pytest to look at it. Nothing optional may be importable here.
$(VENV)-base/.base: $(PINS)
	$(PYTHON) -m venv $(VENV)-base
	$(call install,$(VENV)-base,isotherm,pytest)
	@touch $@

.PHONY: install
install: $(VENV)/.dev  ## Install isotherm[dev] into .venv, from the pins in constraints.txt

# --------------------------------------------------------------------------------------------- use it

.PHONY: demo
demo: $(VENV)/.demo  ## Couple the colours of two photographs; writes out/demo/report.html
	$(BIN)/isotherm demo --output $(OUT)/demo --overwrite

.PHONY: examples
examples: $(VENV)/.demo  ## Run every script in examples/, without a screen; writes under out/examples
	@mkdir -p $(OUT)/examples
	@for script in $(CURDIR)/examples/*.py; do \
	  echo "-- examples/$${script##*/}"; \
	  (cd $(OUT)/examples && MPLBACKEND=Agg $(abspath $(BIN))/python "$$script"); \
	done

# ------------------------------------------------------------------------------------------ how fast

# What isotherm is compared with stands beside .venv and looks into it, so that .venv never depends on it.
$(VENV)-peers/.peers: benchmarks/peers.txt $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) --no-deps -r benchmarks/peers.txt
	$(VENV)-peers/bin/python .ci/look_into.py $(BIN)/python
	@touch $@

.PHONY: bench
bench: $(VENV)/.dev  ## Time every kernel against the machine's limits and plain torch; prints the table
	$(BIN)/python -m benchmarks.run --suite short $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.compare benchmarks/results/cpu-short.json

.PHONY: bench-peers
bench-peers: $(VENV)-peers/.peers  ## One pass against GeomLoss/KeOps and plain torch; README's table
	$(BIN)/python -m benchmarks.run --suite peers --implementations isotherm,reference,torch,geomloss \
	  --peers-python $(abspath $(VENV)-peers)/bin/python $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.compare benchmarks/results/cpu-peers.json

.PHONY: bench-solves
bench-solves: $(VENV)-peers/.peers  ## Whole solves, eleven kinds of problems, against POT, GeomLoss, OTT-JAX and plain torch
	$(BIN)/python -m benchmarks.workloads.run --peers-python $(abspath $(VENV)-peers)/bin/python $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.workloads.report

.PHONY: bench-losses
bench-losses: $(VENV)-peers/.peers  ## Training steps with a divergence, against POT, GeomLoss, OTT-JAX and plain torch
	$(BIN)/python -m benchmarks.losses.run --peers-python $(abspath $(VENV)-peers)/bin/python $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.losses.report --markdown --into docs/losses.md
	$(BIN)/python -m benchmarks.losses.rough --peers-python $(abspath $(VENV)-peers)/bin/python --into docs/losses.md

.PHONY: bench-models
bench-models: $(VENV)/.dev  ## Models on digits, iris and variances, five seeds; half an hour; fills docs/generative-benchmarks.md
	$(BIN)/python -m benchmarks.models.digits $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.models.iris
	$(BIN)/python -m benchmarks.models.variance
	$(BIN)/python -m benchmarks.models.report --into docs/generative-benchmarks.md

# ------------------------------------------------------------------------------------------- check it

.PHONY: test
test: $(VENV)/.dev  ## Run the whole test suite, doctests and documentation snippets included
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

.PHONY: sanitize
sanitize: $(VENV)/.dev  ## Run the kernel tests on a build with address and undefined-behaviour sanitizers
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -Wno-dev -DISOTHERM_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python \
	  -Dnanobind_DIR="$$($(BIN)/python -m nanobind --cmake_dir)" --log-level=WARNING
	$(BIN)/cmake --build build/sanitize -- --quiet
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1 PYTHONPATH=.ci \
	  ISOTHERM_EXTENSION="$$(ls build/sanitize/_cpu*.so)" $(BIN)/python -m pytest -q -p other_extension \
	  tests/kernels/test_cpu_accuracy.py tests/kernels/test_cpu_binding.py tests/kernels/test_axis_passes.py \
	  tests/kernels/test_sinkhorn_sweeps.py tests/kernels/test_symmetric_softmin.py tests/kernels/test_pattern.py tests/kernels/test_cells.py $(SANITIZE_ARGS)

# Where POT's own tests lie, a folder or one file of its source distribution; nothing: they do not run.
POT_TESTS ?=

# Pure Python, and nothing that they ask for beyond what is here: a folder on the path is enough.
$(VENV)-facades/.facades: Makefile $(VENV)/.dev
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) --no-deps --upgrade \
	  --target $(VENV)-facades geomloss==0.3.1 torchcfm==1.0.7
	@touch $@

.PHONY: test-facades
test-facades: $(VENV)-facades/.facades  ## Compare isotherm.compat with the packages it stands for; POT_TESTS=path: POT's own tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYTHONPATH=$(VENV)-facades $(BIN)/python -m pytest -q tests/compat -k against
ifneq ($(POT_TESTS),)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m isotherm.compat.pot $(POT_TESTS) -q -W ignore $(PYTEST_ARGS)
endif

.PHONY: test-base
test-base: $(VENV)-base/.base  ## Check the base install alone: torch and numpy, no extras
	$(VENV)-base/bin/python -m pytest .ci/test_base_install.py

.PHONY: lint
lint: $(VENV)/.dev  ## ruff (rules and layout), pydoclint, codespell, citations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pydoclint src
	$(BIN)/codespell
	$(BIN)/python .ci/citations.py

.PHONY: format
format: $(VENV)/.dev  ## Lay the code out and fix what ruff can fix
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.dev  ## pyright, basic
	$(BIN)/pyright

.PHONY: contract
contract: $(VENV)/.dev  ## Imports point down (import-linter)
	$(BIN)/lint-imports

.PHONY: docs
docs: $(VENV)/.dev  ## Build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: ci
ci:  ## Everything continuous integration runs
	bash .ci/run

# ---------------------------------------------------------------------------------------------- upkeep

.PHONY: constraints
constraints: $(VENV)/.dev  ## Write constraints.txt from the versions in .venv
	$(BIN)/python .ci/constraints.py > constraints.new
	mv constraints.new constraints.txt
	@touch $(VENV)/.demo $(VENV)/.dev

.PHONY: clean
clean:  ## Remove what was built and written, keep .venv
	rm -rf $(OUT) site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(VENV)-base $(VENV)-peers
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: help
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
	  while IFS=$$'\t' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done
