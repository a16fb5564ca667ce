PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: setup demo data-doom test test-slow test-newest test-some chaos bench gpu-check docs lint lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit( \
	  "error: this needs Python 3.11 to 3.13 (TensorFlow, which training needs, has no other); " \
	  "choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@
	@echo 'installed; a first video: .venv/bin/python -m videogpt_jax.sample --model=doom --out=videos'

demo: setup  ## train, sample and evaluate on the embedded digits
	$(RUN) -m videogpt_jax.main --config=configs/demo.py --workdir=runs/demo

# Records in quarter of an hour on two cores; called again, goes on where it was stopped.
data-doom: setup  ## record ViZDoom: the paper's 1,000 episodes, and 2,000 of which half explore
	$(RUN) data/prepare.py $(DOOM) --out=shards/vizdoom_hgs
	$(RUN) data/prepare.py $(DOOM) --antialias --out=shards/doom --policy=mixed --n_generated=2000

DOOM = --format=vizdoom --source=health_gathering_supreme --resolution=64

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

test: lint  ## lint and all tests that are not marked slow
	$(RUN) -m pytest -m "not slow"

test-slow: setup
	$(RUN) -m pytest -m slow

# What a release of JAX or Flax is most likely to break: the public face, sampling, numerics, the
# train step, checkpoints and the command line. Three minutes at most.
NEWEST_TESTS = tests/test_versions.py tests/test_machine.py tests/test_api.py \
  tests/sampling/test_loop.py tests/models/test_parity_vqvae.py \
  tests/training/test_fit.py::test_the_loss_falls_on_clips_that_repeat \
  tests/test_main.py::test_the_whole_job_leaves_every_file_and_figure \
  tests/test_cli.py::test_a_crash_among_several_processes_tells_and_ends_at_once \
  tests/test_cli.py::test_training_without_tensorflow_names_the_extra_to_install

test-newest:  ## these tests with the newest JAX, in Python 3.12, if there is one
	@for python in python3.12 ~/.pyenv/versions/3.12*/bin/python; do \
	  if "$$python" -c '' 2>/dev/null; then \
	    exec $(MAKE) --no-print-directory test-some VENV=.venv-newest PYTHON="$$python"; \
	  fi; \
	done; echo 'no Python 3.12 here: the tests with the newest JAX are left out'

test-some: setup
	$(RUN) -m pytest -m "not slow" $(NEWEST_TESTS)

chaos: setup  ## kills, full disks, broken files: an hour at most; PARTS='kills HDF5' for some
	$(RUN) -m tests.chaos $(PARTS)

bench: setup  ## the benchmarks, as a table
	$(RUN) -m benchmarks

gpu-check: setup  ## checks and times everything on a GPU, in four minutes; see README for its JAX
	$(RUN) -m benchmarks.gpu --out=runs/gpu

docs: setup  ## the documentation as a site, in runs/site; what is amiss in it is an error
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

lock:  ## re-resolve requirements.lock for every supported Python
	uv pip compile --universal --python-version 3.11 --fork-strategy requires-python \
	  --no-header --no-emit-index-url --no-emit-find-links \
	  requirements-dev.txt -o requirements.lock

clean:
	rm -rf $(VENV) .venv-newest runs
