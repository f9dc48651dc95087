# make demo   set up, then the whole pipeline on handwritten digits, 2 minutes
# make test   set up, then the style checks and the whole suite
# make setup  the environment alone, in .venv
# make bench  set up, then the benchmarks: a table and build/bench.json
# make sweep  every application through all parts: docs/applications.md
# make cuts   where the backbone can be cut, with disk and work of each
# make plan   what extract would compute, why, its disk, memory and time
# make verify the cached features against their manifest; make repair mends
# make inspect the doctor of the cached features

BIN := $(CURDIR)/.venv/bin
PYTHONS := $(or $(PYTHON),python3.9 python3.10 python3.11 python3 python)
IN_ENVIRONMENT := PATH="$(BIN):$$PATH"

# Not MobileNet: its features vanish on their way through untrained weights.
DEMO := -S data.source=data/raw/digits.yaml -S resize.side=64 \
  -S backbone.application=EfficientNetV2B0 -S '~backbone.options.alpha' \
  -S backbone.weights=models/weights/random.yaml -S evaluate.accuracy_floor=0.9

.PHONY: setup demo test bench sweep cuts plan verify repair inspect lock

setup: .venv/complete

.venv/complete: requirements.lock
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null; then \
	    [ -x .venv/bin/python ] || "$$python" -m venv .venv || exit 1; \
	    echo "Installing TensorFlow 2.15 and DVC into .venv: 2 GB, a few minutes"; \
	    .venv/bin/python -m pip install --quiet --no-deps --use-pep517 -r requirements.lock || exit 1; \
	    touch $@; exit 0; \
	  fi; \
	done; \
	echo "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11, found none ($(PYTHONS)); install one, or name it: make setup PYTHON=/path/to/python3.9" >&2; \
	exit 1

demo: setup
	@rm -rf build/demo && mkdir -p build
	@git clone --quiet . build/demo
	@git ls-files -z | tar -cf - --null -T - | tar -xf - -C build/demo
	@cd build/demo && git config user.name demo && git config user.email demo@localhost && \
	  $(IN_ENVIRONMENT) dvc exp run --quiet $(DEMO) && \
	  $(IN_ENVIRONMENT) dvc metrics show && ls -l cifar10.h5

test: setup
	$(IN_ENVIRONMENT) pycodestyle --exclude=.venv,build .
	$(IN_ENVIRONMENT) python -m pytest

bench: setup
	@.venv/bin/python -m pip install --quiet --no-deps -r benchmarks/requirements.lock
	$(IN_ENVIRONMENT) python benchmarks/run.py

sweep: setup
	$(IN_ENVIRONMENT) python tests/sweep.py

cuts: setup
	@$(IN_ENVIRONMENT) python -m stages.lib.cut_table

plan: setup
	@$(IN_ENVIRONMENT) python -m stages.extract --plan

verify: setup
	@$(IN_ENVIRONMENT) python -m stages.lib.verify

repair: setup
	@$(IN_ENVIRONMENT) python -m stages.lib.verify --repair

inspect: setup
	@$(IN_ENVIRONMENT) python -m stages.inspect

LOCK := .venv/bin/uv pip compile --quiet --universal --fork-strategy fewest \
  --python-version 3.9 --generate-hashes --no-annotate \
  --custom-compile-command "make lock"

lock: setup
	.venv/bin/python -m pip install --quiet uv
	$(LOCK) --extra inspect --extra test -o requirements.lock pyproject.toml
	$(LOCK) --no-deps -o benchmarks/requirements.lock benchmarks/requirements.in
