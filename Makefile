# make demo     set up, then run the whole pipeline on handwritten digits, 1 min
# make test     set up, then run the style checks and the test suite, 5 to 9 min
# make setup    the environment alone, in .venv
# make onnx     an environment in .venv-onnx, for onnx in export.formats
# make bench    set up, then run the benchmarks: a table and build/bench.json
# make sweep    run every application through all parts: docs/applications.md
# make cuts     list layers: disk space and work as a cut, columns as features
# make plan     print what extract would compute, why, its disk, memory, time
# make verify   compare all files that DVC tracks with what was written
# make repair   verify, then write damaged files again
# make inspect  look for errors in the data: leaks, duplicates, wrong labels
# make study DATA=... WEIGHTS=...  run the missing points of study/study.yaml
# make paper    write paper/ and the README's table from study/results.csv
# PYTHON=python3.11 chooses the Python, VENV=.venv-3.11 its environment.

VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
PYTHONS := $(or $(PYTHON),python3.9 python3.10 python3.11 python3 python)
IN_ENVIRONMENT := PATH="$(BIN):$$PATH"

# Not MobileNet: without trained weights, its features vanish.
DEMO := -S data.source=data/raw/digits.yaml -S resize.side=64 \
  -S backbone.application=EfficientNetV2B0 -S '~backbone.options.alpha' \
  -S backbone.weights=models/weights/random.yaml -S evaluate.accuracy_floor=0.9

# Without git history, as in a ZIP file, the demo has all files not ignored.
HISTORY := git --git-dir=.git rev-parse --quiet --verify HEAD > /dev/null 2>&1

.PHONY: setup history demo test onnx bench sweep cuts plan verify repair inspect \
  study paper lock

setup: $(VENV)/complete

$(VENV)/complete: requirements.lock
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null; then \
	    [ -x $(VENV)/bin/python ] || "$$python" -m venv $(VENV) || exit 1; \
	    echo "Installing TensorFlow 2.15 and DVC into $(VENV): 2 GB, a few minutes"; \
	    $(VENV)/bin/python -m pip install --quiet --no-deps --use-pep517 -r requirements.lock || exit 1; \
	    touch $@; exit 0; \
	  fi; \
	done; \
	echo "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11, found none ($(PYTHONS)); install one, or name it: make setup PYTHON=/path/to/python3.9" >&2; \
	exit 1

demo: setup
	@rm -rf build/demo && git init --quiet build/demo
	@if $(HISTORY); then git ls-files -z; else git --git-dir=build/demo/.git --work-tree=. \
	  ls-files -z --others --exclude-standard; fi | tar -cf - --null -T - | tar -xf - -C build/demo
	@cd build/demo && git config user.name demo && git config user.email demo@localhost && \
	  git add --all && git commit --quiet --message demo && \
	  $(IN_ENVIRONMENT) dvc exp run --quiet $(DEMO) && \
	  $(IN_ENVIRONMENT) dvc metrics show && ls -l cifar10.h5

history:
	@$(HISTORY) || { echo "the tests need git history; run once:" \
	  "git init && git add --all && git commit --message start" >&2; exit 1; }

test: history setup
	$(IN_ENVIRONMENT) pycodestyle --exclude='.venv*,build' .
	$(IN_ENVIRONMENT) python -m pytest

# tf2onnx needs another protobuf than the rest.
onnx: setup
	@$(BIN)/python -m venv .venv-onnx
	@echo "Installing tf2onnx and ONNX Runtime into .venv-onnx: 1.4 GB"
	@.venv-onnx/bin/python -m pip install --quiet tensorflow-cpu==2.15.1 \
	  numpy==1.25.2 tf2onnx==1.16.1 onnxruntime

bench: setup
	@$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/requirements.lock
	$(IN_ENVIRONMENT) python benchmarks/run.py

sweep: setup
	$(IN_ENVIRONMENT) python tests/sweep.py

cuts: setup
	@$(IN_ENVIRONMENT) python -m commands.list_cuts

plan: setup
	@$(IN_ENVIRONMENT) python -m commands.plan_extract

verify: setup
	@$(IN_ENVIRONMENT) python -m commands.verify_artefacts

repair: setup
	@$(IN_ENVIRONMENT) python -m commands.verify_artefacts --repair

inspect: setup
	@$(IN_ENVIRONMENT) python -m commands.inspect_features

study: history setup
	@$(IN_ENVIRONMENT) DATA="$(DATA)" WEIGHTS="$(WEIGHTS)" python -m study

paper: setup
	@$(IN_ENVIRONMENT) python -m paper

LOCK := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest \
  --python-version 3.9 --generate-hashes --no-annotate \
  --custom-compile-command "make lock"

lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra inspect --extra paper --extra test -o requirements.lock pyproject.toml
	$(LOCK) --no-deps -o benchmarks/requirements.lock benchmarks/requirements.in
