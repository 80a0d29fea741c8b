# make demo: installs into .venv and runs the whole job on a few clips.
# make test: installs with test extras, then lint, types and tests.
# make acceptance: the long suites, on real footage (VIDSIM_TEST_DATA, or ../shared/data);
#   SUITES=tests/test_vggish.py names some of them.
# make podman-test: 'vidsim up' on podman, with the genuine Milvus of the package index; as root,
#   with the packages that .ci/run installs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUITES ?= tests

.PHONY: demo test lint acceptance podman-test clean

demo: $(VENV)/installed
	$(BIN)/vidsim demo

# Each process computes with one thread, so that two of them do not fight for two cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV)/src && ../bin/mypy --config-file vidsim/pyproject.toml \
		-p vidsim.schemas -p vidsim.ingest -p vidsim.search -p vidsim.deploy -m vidsim.cli

acceptance: $(VENV)/installed-test
	$(BIN)/pytest -m acceptance -s --timeout 3600 $(SUITES)

# Containers, networks and mounts live in namespaces of their own, and end with them.
podman-test: $(VENV)/installed-test
	$(BIN)/pip download -q --no-deps -d $(VENV)/milvus milvus==2.3.5
	VIDSIM_TEST_MILVUS=$(VENV)/milvus unshare --net --mount --pid --fork --kill-child --mount-proc \
		sh -c 'ip link set lo up && mount -t tmpfs run /run && $(BIN)/pytest -m podman tests/test_podman.py'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/vidsim

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[test]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV)
