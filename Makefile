PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: setup demo test test-slow bench lint lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

demo: setup  ## train, sample and evaluate on the embedded digits
	$(RUN) -m videogpt_jax.main --config=configs/demo.py --workdir=runs/demo

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

test: lint  ## lint and all tests that are not marked slow
	$(RUN) -m pytest -m "not slow"

test-slow: setup
	$(RUN) -m pytest -m slow

bench: setup  ## the benchmarks, as a table
	$(RUN) -m benchmarks

lock:  ## re-resolve requirements.lock for every supported Python
	uv pip compile --universal --python-version 3.11 --fork-strategy requires-python \
	  --no-header --no-emit-index-url --no-emit-find-links \
	  requirements-dev.txt -o requirements.lock

clean:
	rm -rf $(VENV) runs
