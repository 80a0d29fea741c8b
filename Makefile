# make demo: installs into .venv and runs the whole job on a few clips.
# make test: installs with test extras, then lint, types and tests.
# make acceptance: the long suites, on real footage (VIDSIM_TEST_DATA, or ../shared/data);
#   SUITES=tests/test_vggish.py names some of them.
# make server-test: the suites on a genuine Milvus server, which starts in namespaces of its own:
#   it would listen on every interface, and ends with them whatever happens.
# make server-acceptance: that server is killed while real footage is ingested.
# make gpu-test: extraction on a CUDA device; prints how fast it was.
# make podman-test: 'vidsim up' on podman, with the genuine Milvus of the package index; as root,
#   with the packages that .ci/run installs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUITES ?= tests
NAMESPACES := unshare --net --pid --fork --kill-child --mount-proc \
	$(shell [ "$$(id -u)" = 0 ] || echo --map-root-user)

.PHONY: demo test lint acceptance server-test server-acceptance podman-test gpu-test clean

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
	$(BIN)/pytest -m 'acceptance and not server' -s --timeout 3600 $(SUITES)

server-test server-acceptance: $(VENV)/installed-server-test
	@if $(NAMESPACES) ip link set lo up; then \
		$(NAMESPACES) sh -c 'ip link set lo up && exec "$$@"' sh $(ON_A_SERVER); \
	else \
		echo "NOT TESTED ON A MILVUS SERVER: network namespaces are not permitted here." >&2; \
	fi

server-test: ON_A_SERVER = $(BIN)/pytest -m 'server and not acceptance' -s $(SUITES)
server-acceptance: ON_A_SERVER = $(BIN)/pytest -m 'server and acceptance' -s --timeout 3600 $(SUITES)

gpu-test: $(VENV)/installed-test
	$(BIN)/pytest -m gpu -s tests/gpu

# Containers, networks and mounts live in namespaces of their own, and end with them; so does what
# podman notes of images outside of the test's folder.
podman-test: $(VENV)/installed-test
	$(BIN)/pip download -q --no-deps -d $(VENV)/milvus milvus==2.3.5
	mkdir -p /var/lib/containers
	VIDSIM_TEST_MILVUS=$(VENV)/milvus unshare --net --mount --pid --fork --kill-child --mount-proc \
		sh -c 'ip link set lo up && mount -t tmpfs run /run && \
			mount -t tmpfs containers /var/lib/containers && \
			exec $(BIN)/pytest -m podman tests/test_podman.py'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/vidsim

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-server-test: $(VENV)/installed-test
	$(BIN)/pip install -q -e '.[test,server-test]'
	touch $@ $(VENV)/installed-test $(VENV)/installed

clean:
	rm -rf $(VENV)
