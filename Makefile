# The front door. `make help` lists what there is; every target sets up .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
PRETRAINED ?= .venv-baselines
DOCS ?= .venv-docs
CORES ?= all
export CONFIG ?= config/config.yaml
PROFILE ?= default

# the name of the study of that file, which the shell of a recipe reads: $(shell) does not know CONFIG before make 4.4
NAME = $$(sed -n 's/^study: *//p' "$$CONFIG")

WATCHED := "$(dir $(firstword $(MAKEFILE_LIST)))workflow/watched.sh"
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages
BYTECODE := $(VENV)/.bytecode
KERNELS := $(VENV)/.kernels
# the profiles of a cluster say themselves what a job asks for
ON_CLUSTER := $(filter-out default gpu,$(PROFILE))
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/$(PROFILE) \
  $(if $(ON_CLUSTER),,--cores $(CORES))

.DEFAULT_GOAL := help
.PHONY: help demo albert albert-half albert-learned albert-descriptors openms paper paper-small nodeo heads \
  run report status verify datasets ixi benchmark test test-cluster test-faults test-lowest test-baselines \
  lint docs setup clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ :/; s/\$$\$$/$$/g' | column -t -s:

demo: setup  ## the virtual cohort, from nothing to a report, in minutes and without a download
	@$(call study,demo,config/config.yaml)

albert: setup  ## newborns at native resolution (scans in ../shared/data or $$DIFFEODE_DATA)
	@$(call study,albert,config/albert.yaml)

albert-half: setup  ## newborns at half resolution
	@$(call study,albert-half,config/albert-half.yaml)

albert-learned: setup  ## newborns at half resolution, with the learned baselines trained first
	@$(call study,albert-learned,config/albert-learned.yaml)

albert-descriptors: setup  ## newborns at half resolution, MIND, the learned descriptor and mutual information beside each other
	@$(call study,albert-descriptors,config/albert-descriptors.yaml)

openms: setup  ## adults with multiple sclerosis, without labels
	@$(call study,openms,config/openms.yaml)

paper: setup  ## the experiments of the paper and its poster, and one page of all (scans in $$OASIS3 and $$IXI)
	@$(call studies,paper paper-descriptors paper-regularisation poster checks questions,config,)

paper-small: setup  ## the same and NODEO's at a reduced size, in one to three hours on two cores (scans in ../shared/data)
	@$(call studies,paper descriptors newborns regularisation poster nodeo checks unseen-contrast questions anatomy,config/small,--small)

nodeo: setup  ## NODEO's atlas-based experiments (scans in $$NEURITE_OASIS and $$CANDI)
	@$(call studies,nodeo nodeo-ablation,config,)

run: setup  ## the study of a file, with its report (CONFIG=config/albert.yaml PROFILE=slurm)
	@$(call study,$(NAME),$(CONFIG))

report: setup  ## write the report of a study again (CONFIG=config/albert.yaml)
	@$(call report,$(NAME),$(CONFIG))

status: setup  ## what of a study is done, missing, stale or failed, and why (CONFIG=config/albert.yaml; the demo)
	@$(BIN)/python workflow/status.py --configfile "$$CONFIG"

verify: setup  ## read every file of a study and compare it with its checksum (CONFIG=config/albert.yaml; the demo)
	@$(BIN)/python workflow/status.py --verify --configfile "$$CONFIG"

datasets: setup  ## what there is of every dataset, what is missing and how to get it
	@$(BIN)/diffeode datasets

ixi: setup  ## download IXI (8 GB) to ../data/ixi or $$IXI; continues where it broke off
	@$(SNAKEMAKE) ixi

heads: setup  ## from raw heads, skull-stripped, brought to ICBM152, segmented, registered, with a page to look at them
	@$(call study,heads,config/heads.yaml)

# NODEO=../NODEO-DIR runs the reference beside ours
benchmark: setup  ## accuracy and speed against other tools (hours; tables in benchmarks/results)
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/histology.py
	$(BIN)/python benchmarks/contrasts.py
	$(BIN)/python benchmarks/speed.py $(if $(NODEO),--nodeo "$$NODEO")
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/preparation.py

# All is compiled beside the lint. Each process of the tests computes with one thread, and there is one more than
# processors, because some tests wait. What Python compiles is kept, whatever the surroundings say.
test:  ## all checks and tests
	@$(MAKE) --no-print-directory --jobs 3 lint setup
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder \
	  --numprocesses $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)') --maxprocesses 4

test-faults: setup  ## a study that is killed, damaged and starved, and ends right (minutes; no part of make test)
	$(BIN)/python -m pytest -m faults tests/workflow/test_faults.py

test-cluster: setup  ## the tests on a Slurm cluster of two nodes that they set up here (as root, with slurm-wlm and munge)
	$(BIN)/python -m pytest tests/cluster

test-lowest: $(LOWEST)/.ready  ## the quick tests with the lowest versions that pyproject.toml allows
	NUMBA_CACHE_DIR=$(abspath $(LOWEST))/kernels $(LOWEST)/bin/python -m pytest -m "not slow" tests/unit tests/contract

$(LOWEST)/.ready: pyproject.toml tests/lowest_versions.py
	@echo "Setting up $(LOWEST) (a few minutes)"
	@test -x $(LOWEST)/bin/pip || $(PYTHON) -m venv $(LOWEST)
	@$(PYTHON) tests/lowest_versions.py > $(LOWEST)/requirements.txt
	@$(LOWEST)/bin/pip install --quiet --disable-pip-version-check hatchling editables \
	  --requirement $(LOWEST)/requirements.txt
	@$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@NUMBA_CACHE_DIR=$(abspath $(LOWEST))/kernels $(LOWEST)/bin/python -m diffeode.fused
	@touch $@

test-baselines: $(PRETRAINED)/.ready  ## the tests of MultiGradICON and DINO-Reg, with the packages of envs/baselines.txt
	NUMBA_CACHE_DIR=$(abspath $(PRETRAINED))/kernels $(PRETRAINED)/bin/python -m pytest tests/contract/test_pretrained.py

# Nothing here uses torchvision, which unigradicon asks for: its build may be for another torch than the one installed
# (CPU and CUDA), and transformers then fails to import.
$(PRETRAINED)/.ready: requirements.lock envs/baselines.txt
	@echo "Setting up $(PRETRAINED) (several minutes)"
	@test -x $(PRETRAINED)/bin/pip || $(PYTHON) -m venv $(PRETRAINED)
	@$(PRETRAINED)/bin/pip install --quiet --disable-pip-version-check \
	  --requirement requirements.lock --requirement envs/baselines.txt
	@$(PRETRAINED)/bin/pip uninstall --quiet --yes torchvision
	@$(PRETRAINED)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lint: $(PACKAGES)  ## formatting and lint of Python and Snakemake, types of what users import
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(DOCS)/.ready  ## the pages as a site in site/, strictly, with packages of its own
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	@echo "Pages:   site/index.html"

$(DOCS)/.ready: envs/docs.txt
	@echo "Setting up $(DOCS) (seconds)"
	@test -x $(DOCS)/bin/pip || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/pip install --quiet --disable-pip-version-check --requirement envs/docs.txt
	@touch $@

setup: $(BYTECODE) $(KERNELS)  ## the environment in .venv, pinned by requirements.lock

# with all processors, which pip would not; some packages hold templates that are no Python
# without the packages' own tests, a quarter of all code, which nothing here imports
$(BYTECODE): $(PACKAGES)
	@$(BIN)/python -m compileall -qq --workers 0 -x 'site-packages/.*/tests?/' $(VENV)/lib || true
	@touch $@

$(KERNELS): $(PACKAGES)
	@$(BIN)/python -m diffeode.fused
	@touch $@

$(PACKAGES): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "diffeode needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:  ## remove .venv and caches; results stay
	rm -rf $(VENV) $(LOWEST) $(PRETRAINED) $(DOCS) site .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests workflow benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# $(1) names of files in folder $(2): run each study, go on after one in which something failed, write the page of all
# with option $(3), and fail in the end where a study failed; after an interrupt or a kill, end at once (watched.sh)
define studies
	. $(WATCHED); status=0; number=0; \
	for name in $(1); do \
	  number=$$((number + 1)); began=$$SECONDS; said="done"; \
	  echo "Study $$number of $(words $(1)): $(2)/$$name.yaml"; \
	  watched $(SNAKEMAKE) --configfile $(2)/$$name.yaml || { status=$$?; said="ended with failures"; }; \
	  echo "Study $$number of $(words $(1)), $$name, $$said: $$(took $$began), $$(took 0) in all"; \
	done; \
	$(BIN)/python workflow/paper_page.py $(3) || status=$$?; \
	exit $$status
endef

# $(1) name of the study, $(2) its file: run it, write its report also where registrations failed, say where things are
define study
	. $(WATCHED); status=0; \
	watched $(SNAKEMAKE) --configfile $(2) || status=$$?; \
	if [ -f results/studies/$(1)/metrics.tsv ]; then \
	  $(call report,$(1),$(2)) || status=1; \
	  echo "Tables:  results/studies/$(1)/tables"; echo "Figures: results/studies/$(1)/figures"; \
	fi; \
	exit $$status
endef

# $(1) name of the study, $(2) its file
define report
	{ mkdir -p results/logs/report; log=results/logs/report/$(1).log; \
	  if $(SNAKEMAKE) --configfile $(2) --report results/studies/$(1)/report.html > $$log 2>&1; \
	  then echo "Report:  results/studies/$(1)/report.html"; \
	  else echo "The report could not be written: see $$log"; false; fi; }
endef
