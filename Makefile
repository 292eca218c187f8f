# make answer EX=4.6.1 needs nothing but Python 3.11 or 3.12: it makes .venv on its own. `make` lists the rest.
# Versions are those of constraints.txt. Paths are relative, so that the clone may lie in a folder with spaces.

EX ?= 4.6.1
ARGS ?=
# Worker processes of the plain tests; each computes with one thread (tests/conftest.py).
JOBS ?= 2
TORCH := 2.13.0

, := ,
VENV_PYTHON := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help answer book evidence test slow guards bench bench-gpu lint format types layers develop constraints clean
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*##/ { printf "make %-12s %s\n", $$1, $$2 }' Makefile

answer: .venv/.answer  ## answer an exercise: make answer EX=4.6.1 ARGS="--help"
	@.venv/bin/mlplab answer $(EX) $(ARGS)

book: .venv/.answer  ## all answers in both languages: dist/book/index.html, dist/mlplab-answers-zh.pdf and -en.pdf
	@.venv/bin/mlplab book build $(ARGS)

evidence: .venv/.answer  ## run an exercise at full size and write books/d2l-mlp/EX/evidence.json
	@.venv/bin/mlplab publish $(EX) $(ARGS)

test: .venv/.test  ## every test that is not marked slow or gpu
	@$(VENV_PYTHON) -m pytest -n $(JOBS) --dist loadfile -m "not slow and not gpu" $(ARGS)

# pytest's exit status 5: no test is marked slow.
slow: .venv/.test  ## the tests marked slow
	@$(VENV_PYTHON) -m pytest -n $(JOBS) --dist loadfile -m "slow and not gpu" $(ARGS) || test $$? -eq 5

guards: .venv/.test  ## the tests that run a file, or a line of it: make guards FILE=src/mlplab/rng.py:40
	@$(VENV_PYTHON) tests/guards.py $(FILE) $(TESTS)

bench: .venv/.test  ## the engine beside its peers and targets, about ten minutes: make bench ARGS="--cases c"
	@$(VENV_PYTHON) benchmarks/engine.py $(ARGS)

# Any Python will do that has a torch for the GPU at hand: the pinned one may not be it.
bench-gpu:  ## the same on a CUDA device: make bench-gpu PYTHON=python3
	@PYTHONPATH=src$(if $(PYTHONPATH),:$(PYTHONPATH)) "$(or $(PYTHON),$(wildcard $(VENV_PYTHON)),python3)" benchmarks/engine.py --device cuda $(ARGS)

lint: .venv/.develop  ## style and format
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check

format: .venv/.develop  ## mend what lint can mend on its own
	@$(VENV_PYTHON) -m ruff check --fix
	@$(VENV_PYTHON) -m ruff format

types: .venv/.develop  ## types
	@$(VENV_PYTHON) -m pyright --pythonpath $(VENV_PYTHON)

layers: .venv/.test  ## imports point only downwards
	@.venv/bin/lint-imports

develop: .venv/.develop  ## .venv with all that the targets above need

clean:  ## remove .venv and whatever was built; data and results in the user's cache stay
	rm -rf .venv build dist .pytest_cache .guards .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv -------------------------------------------------------------------------------------------------
# Empty files say what is installed; they are older than pyproject.toml or constraints.txt when it is not.

install = @echo "installing into .venv: $(2)" && \
  { $(VENV_PYTHON) -m pip install -qq -c constraints.txt -e '.[$(1)]' || \
    { echo "The install into .venv failed; pip says why above. Run the same command again to go on." >&2; exit 1; }; }

.venv/.answer: .venv/.made pyproject.toml constraints.txt
	$(call install,book,mlplab and what it computes with (one to two minutes the first time))
	@touch $@

.venv/.test: .venv/.made pyproject.toml constraints.txt
	$(call install,book$(,)test,mlplab and what its tests need (one to two minutes the first time))
	@touch .venv/.answer $@

.venv/.develop: .venv/.made pyproject.toml constraints.txt
	$(call install,book$(,)test$(,)lint,mlplab and what its tests and checks need (one to two minutes the first time))
	@touch .venv/.answer .venv/.test $@

# A virtual environment does not survive a move of its folder, nor the end of the Python it was made with.
ifneq ($(shell test -x $(VENV_PYTHON) && cat .venv/.made 2>/dev/null),$(CURDIR))
.PHONY: .venv/.made
endif

# A name on PATH may be a stand-in that fails when it is run, and Debian's Python may lack ensurepip: so each is tried.
.venv/.made:
	@if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3.11 python3.12 python3 python; fi; \
	for python in "$$@"; do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || continue; \
	  echo "making .venv with $$("$$python" -V)"; \
	  test -e .venv/.made && clear=--clear || clear=; \
	  "$$python" -m venv $$clear .venv && printf '%s\n' "$(CURDIR)" > .venv/.made; exit; \
	done; \
	echo "mlplab needs Python 3.11 or 3.12 with venv, and found none as: $$*. Name one: make PYTHON=/path/to/python3.12 ... (On Debian, python3-venv may be missing.)" >&2; \
	exit 1

# Torch is named first: its newest version is not the one that is pinned. "+cpu" and the like tell builds apart, not versions.
constraints:  ## resolve constraints.txt anew: the newest versions but for torch
	@rm -rf build/constraints
	@"$(or $(PYTHON),python3.11)" -m venv build/constraints
	@build/constraints/bin/python -m pip install -q torch==$(TORCH) -e '.[book,graph,lint,parquet,ray,shift,test,tune]'
	@{ sed '/^$$/q' constraints.txt; \
	   build/constraints/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+.*//'; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt && rm -rf build/constraints
