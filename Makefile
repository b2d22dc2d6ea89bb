# make demo, make test: all that is needed is Python 3.11 or newer, make and a package index.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test fuzz lint format docs notebooks bench clean study study-train

help:
	@echo "make demo    find tiny things in large pictures with the embedded model; drawings go to demo/"
	@echo "make test    run the tests"
	@echo "make fuzz    give every reader and route made-up input for some minutes; FUZZ_EXAMPLES says how many of a kind"
	@echo "make lint    check style, types and the layers of imports"
	@echo "make format  put the code into its style"
	@echo "make docs    build the documentation into site/; any warning is an error"
	@echo "make notebooks  run the notebooks"
	@echo "make bench   measure what searches cost; a table and a plot go to runs/bench"
	@echo "make study-train  train every method, plain and zooming, at the scale of mini: an hour a seed on two cores"
	@echo "make study   evaluate what is trained and fill the tables of docs/study.md"
	@echo "make clean   remove what make made"

demo: $(VENV)/installed
	$(RUN) -m piza.cli.demo --out demo

# One thread a process: two processes of one thread are faster than either alone with two.
# A DataLoader has the process told when a child ends. In one where servers and runtimes have run too, the next child's end
# crashed it, so the tests that use one have processes of their own.
LOADERS := tests/training tests/cli/test_cli_train.py tests/model/accelerate/test_deformable.py
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 $(addprefix --ignore ,$(LOADERS))
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 $(LOADERS)

# The tests hold a short run of it. atheris and schemathesis are installed for it alone, and left out where they cannot be:
# atheris has no wheels for every system.
fuzz: export OMP_NUM_THREADS = 1
fuzz: export FUZZ_EXAMPLES ?= 5000
fuzz: $(VENV)/installed-dev
	-$(INSTALL) atheris
	-$(INSTALL) schemathesis
	$(RUN) -m pytest tests/fuzz --hypothesis-profile=default
	! $(RUN) -c 'import atheris' 2>/dev/null || $(RUN) tests/fuzz/harness.py --list | while read -r name; do \
		$(RUN) tests/fuzz/harness.py "$$name" -runs=$(FUZZ_EXAMPLES) || exit 1; done

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/installed-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# The site may fetch nothing from elsewhere, so that it is whole without a network.
# (--quiet would hide warnings from --strict, too, and nothing would fail.)
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@! grep -rlE '(src|href)="(https?:)?//[^"]+\.(js|css|woff2?)"' site --include='*.html' || \
		{ echo "these pages fetch from the network" >&2; exit 1; }
	@echo "built site/index.html"

notebooks: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(VENV)/bin/jupyter-execute --timeout=300 notebooks/*.ipynb

# About ten minutes on two cores; BENCH="--only a,b" measures a part, BENCH="--page docs/performance.md" fills the page's tables.
bench: $(VENV)/installed-dev
	$(RUN) benchmarks/bench.py --out runs/bench $(BENCH)

# What and how much is set by variables (SIGNS, SEEDS, STEPS, ...; see recipes/mini_rows.sh); what is done is not done again.
study-train: $(VENV)/installed-dev
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" recipes/mini_rows.sh

study: export OMP_NUM_THREADS = 1
study: OUT ?= runs/study
study: BASE ?= $(OUT)/base
study: $(VENV)/installed-dev
	$(RUN) recipes/study.py --work "$(OUT)" --base "$(BASE)" --limit $${LIMIT:-1000} \
		--baseline-limit $${BASELINE_LIMIT:-300} --jobs $${JOBS:-2} --page docs/study.md

clean:
	rm -rf $(VENV) demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps are made last, so an interrupted installation is taken up again and a finished one is not repeated.
$(VENV)/installed: pyproject.toml constraints.txt | $(RUN)
	@echo "installing into $(VENV); the first time takes a few minutes"
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the tools for tests into $(VENV)"
	$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@echo "installing the tools for documentation into $(VENV)"
	$(INSTALL) -e '.[docs]'
	@touch $@

$(RUN):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
