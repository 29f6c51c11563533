# `make book` and `make test` lay out .venv, then hand over to Snakemake and pytest.
.DEFAULT_GOAL := book
.DELETE_ON_ERROR:
.PHONY: book install test slurm browser screenshots lint lock benchmark unlock clean help

PYTHON ?= python3
PYTEST_ARGS ?= -n auto
VENV := .venv
INSTALLED := $(VENV)/.installed

# Nothing of the user's own takes part: no packages, kernels, IPython start-up files, Matplotlib
# styles or Snakemake profiles.
unexport PYTHONHOME PYTHONPATH SNAKEMAKE_PROFILE
export PYTHONNOUSERSITE := 1
export JUPYTER_PATH := $(CURDIR)/$(VENV)/share/jupyter
export IPYTHONDIR := $(CURDIR)/build/ipython
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib
export JUPYTER_RUNTIME_DIR := $(CURDIR)/build/jupyter

# Snakemake, pip and Jupyter end without a home to write to, or a name for the user; containers that
# run under a number of their own have neither.
ifneq ($(shell test -w "$$HOME" -a "$$HOME" != / && echo usable),usable)
export HOME := $(CURDIR)/build/home
unexport XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME
endif
# Folders of XDG may be set to where nothing can be written; then those below the home take their place.
writable = $(shell mkdir -p "$$$(1)" 2>/dev/null && test -w "$$$(1)" && echo yes)
$(foreach name,XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME,$(if $($(name)),\
	$(if $(call writable,$(name)),,$(eval unexport $(name)))))
export LOGNAME ?= $(firstword $(shell id -un 2>/dev/null || id -u))

IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

book: $(INSTALLED)  ## run the quick studies, execute the notebooks, build the site (the default)
	@mkdir -p build
	@$(IN_VENV) snakemake --workflow-profile workflow/profiles/local
	@cat build/learning.txt
	@echo "make book: quick studies, notebooks and site are up to date;" \
		"open _build/html/index.html"

install: $(INSTALLED)  ## lay out .venv, and nothing else
	@echo "make install: the environment is in $(VENV); activate it with: . $(VENV)/bin/activate"

test: $(INSTALLED)  ## run the tests; slow ones too: make test PYTEST_ARGS='-n auto -m ""'
	@mkdir -p build
	@$(IN_VENV) pytest $(PYTEST_ARGS)
	@echo "make test: ran pytest $(PYTEST_ARGS)"

slurm: $(INSTALLED)  ## sweep on a SLURM cluster of one node; root on Debian may set it up, others skip
	@$(IN_VENV) pytest -m slurm -rs -q tests/test_slurm.py
	@echo "make slurm: ran pytest -m slurm"

browser: $(INSTALLED)  ## check the built site in Chromium, which root on Debian may install
	@PYTHONPATH=tests $(VENV)/bin/python tests/browser/chromium.py
	@$(IN_VENV) pytest -m browser -n 2 --dist worksteal -q tests/browser
	@echo "make browser: ran pytest -m browser"

screenshots: $(INSTALLED)  ## picture pages of the built site: make screenshots PAGES="book/glossary"
	@PYTHONPATH=tests $(VENV)/bin/python tests/browser/screenshots.py $(PAGES)

lint: $(INSTALLED)  ## check the code's style and its types
	@$(IN_VENV) ruff check .
	@$(IN_VENV) mypy

# --universal: one file for every supported Python and platform.
lock: $(INSTALLED)  ## renew requirements.lock
	$(IN_VENV) uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--fork-strategy fewest --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --upgrade --quiet --output-file requirements.lock

# The peers are installed beside what is locked; everything else of the environment stays as it is.
benchmark: $(INSTALLED)  ## measure again what is claimed about speed and networks: an hour, on an idle machine
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint requirements.lock --requirement benchmarks/requirements.txt
	@$(IN_VENV) pytest -q tests/test_examples.py
	@$(IN_VENV) sh -ec 'for name in vision text crops graphs nodes; do python benchmarks/$$name.py; done; \
		for what in parts transforms growth; do python benchmarks/steps.py $$what; done; \
		python benchmarks/matrix.py; python benchmarks/together.py; python benchmarks/lightning_overhead.py; \
		python benchmarks/vision.py --agree 3; python benchmarks/text.py --agree 5; \
		python benchmarks/graphs.py --agree 5; \
		python benchmarks/crops.py --agree 5; python benchmarks/nodes.py --agree 5'
	@echo "make benchmark: records are in benchmarks/records; make book draws them"

unlock: $(INSTALLED)  ## after a hard kill or a power cut, let `make book` run again
	@$(IN_VENV) snakemake --workflow-profile workflow/profiles/local --unlock

clean:  ## remove what `make book` made; records and .venv stay
	rm -rf _build build .snakemake book/notebooks/*.ipynb book/notebooks/touch-data.js

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## */\1: /p' $(MAKEFILE_LIST)

# The stamp is written last, so that an interrupted installation is taken up again. --no-compile: to
# compile 20,000 modules takes a minute; Python compiles those that it imports.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "deepaug needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu:" \
			"apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing requirements.lock into $(VENV): some 6 GB, a few minutes"
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
