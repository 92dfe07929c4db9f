# Every task of the project: `make help` lists them.
#
# Paths are relative and tools are called as `python -m`, so that all of it works in a folder with a space in its name,
# where the scripts in .venv/bin may not. An environment is installed into only when the files that describe it changed.

PYTHON ?= python3
PIP_FLAGS := --disable-pip-version-check -c constraints.txt
# An index with another build of PyTorch, for instance the small one without CUDA: see "Installation" in README.md.
ifdef TORCH_INDEX
PIP_FLAGS += --extra-index-url $(TORCH_INDEX)
endif

RUN := .venv/bin/python
VISION_RUN := .venv-vision/bin/python
WHEEL_RUN := .venv-wheel/bin/python

INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
INSTALLED_VISION := .venv-vision/.installed

.DEFAULT_GOAL := help
.PHONY: help demo setup fmt check test test-vision docs bench leaderboard checkpoints dist test-wheel

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## train and test two classifiers on synthetic garments; ends with the report's path
	$(RUN) -m shiftscope run --data garments --out demo-run --overwrite

setup: $(INSTALLED_DEV) ## create .venv with all that development needs

fmt: $(INSTALLED_DEV) ## sort imports and repair what ruff can repair
	$(RUN) -m ruff check --fix

check: $(INSTALLED_DEV) ## lint, types, layers, sizes
	$(RUN) -m ruff check
	$(RUN) -m basedpyright
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(RUN) tools/budgets.py

# A worker a core, one thread each: most tests are too small for more.
test: $(INSTALLED_DEV) ## all tests but those with torchvision
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-vision: $(INSTALLED_VISION) ## tests with torchvision and timm, in an environment of their own
	$(VISION_RUN) -m pytest tests/vision

LESSONS ?= small
docs: $(INSTALLED_DEV) ## the documentation, in docs/_build/html; runs the lessons (LESSONS=small, full or none)
	OMP_WAIT_POLICY=PASSIVE LESSONS=$(LESSONS) $(RUN) -m sphinx -W --keep-going -q -b html -d docs/_build/trees docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(INSTALLED) ## time training, audit, pictures and batches beside the plain ways (real images; nothing else running)
	for part in training audit visualize data; do \
		$(RUN) benchmarks/run_bench.py $$part --data fashion-mnist --out benchmarks/results --overwrite || exit; done

leaderboard: $(INSTALLED) ## train, repair and audit what the leaderboard lacks, and write its page (real images; hours)
	$(RUN) benchmarks/run_leaderboard.py --data fashion-mnist --resume
	$(RUN) benchmarks/run_leaderboard.py --table docs/leaderboard.md

checkpoints: $(INSTALLED) ## train the models of examples/checkpoints/ anew (real images; ten minutes on two cores)
	$(RUN) tools/make_checkpoints.py

dist: $(INSTALLED_DEV) ## build the wheel and the source archive into dist/
	rm -rf dist build
	$(RUN) -m build

test-wheel: dist ## install the wheel in a clean environment and run it from there
	rm -rf .venv-wheel
	tools/create_venv.sh "$(PYTHON)" .venv-wheel
	$(WHEEL_RUN) -m pip install --quiet $(PIP_FLAGS) dist/*.whl
	cd .venv-wheel && bin/shiftscope --help
	cd .venv-wheel && bin/python -m shiftscope run --data garments --limit 500 --epochs 1 --out first-run

$(INSTALLED): pyproject.toml constraints.txt
	@tools/create_venv.sh "$(PYTHON)" .venv
	$(RUN) -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(RUN) -m pip install --quiet $(PIP_FLAGS) -e ".[dev]"
	@touch $@

# Without dependencies: torchvision and timm must not bring another torch than the one that is tested.
$(INSTALLED_VISION): pyproject.toml constraints.txt
	@tools/create_venv.sh "$(PYTHON)" .venv-vision
	$(VISION_RUN) -m pip install --quiet $(PIP_FLAGS) -e . pytest huggingface_hub PyYAML
	$(VISION_RUN) -m pip install --quiet $(PIP_FLAGS) --no-deps torchvision timm
	@touch $@
