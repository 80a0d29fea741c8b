# make demo: installs into .venv and runs the whole job on a few clips.
# make test: installs with test extras, then lint, types and tests; SUITES=tests/search names some.
#   LITE=3.2.1, or LITE=oldest of what pyproject.toml allows, only tests, with that Milvus Lite:
#   .venv-lite has it, and all else from .venv.
# Both install exactly what requirements.lock says, checked by hash. DEVICE says for which device:
#   DEVICE=cpu takes the smaller builds of torch and TensorFlow that know no GPU, DEVICE=gpu adds
#   faiss-gpu (docs/install.md); 'make clean' first where it was another one.
# make reference: writes docs/cli.md and the picture of docs/architecture.md anew.
# make lock: renews requirements.lock, keeping versions that still fit; UPGRADE=--upgrade takes new
#   ones, UPGRADE='--upgrade-package torch' one of them.
# make sbom: writes sbom.cdx.json, what the lock holds (CycloneDX), by a tool in an environment of its own.
# make audit: holds the locked versions against the advisories of PyPI, which needs the network.
# make newest: installs the newest versions that pyproject.toml allows, into .venv-newest, and tries
#   what a person does first.
# make smoke: the same with the locked versions, in .venv.
# make acceptance: the long suites, on real footage (VIDSIM_TEST_DATA, or ../shared/data);
#   SUITES=tests/ingest/models/test_vggish.py names some of them.
# make server-test: the suites on a genuine Milvus server, which starts in namespaces of its own:
#   it would listen on every interface, and ends with them whatever happens.
# make server-acceptance: that server is killed while real footage is ingested, and lost in each phase.
# make server-kills KILLS=100 SEED=1: commands are killed at random whose home is on that server.
# make gpu-test: extraction on a CUDA device; prints how fast it was.
# make podman-test: 'vidsim up' on podman, with the genuine Milvus of the package index; as root,
#   with the packages that .ci/run installs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEVICE ?= $(or $(shell cat $(VENV)/device 2> /dev/null),any)
SUITES ?= tests
LOCK := requirements.lock

# uv does not read pip's settings: of these the index is passed on. Certificates are the system's, or
# what SSL_CERT_FILE names.
INDEX := $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2> /dev/null))
ifneq ($(INDEX),)
export UV_DEFAULT_INDEX ?= $(INDEX)
endif
export UV_SYSTEM_CERTS ?= 1
export UV_PYTHON_DOWNLOADS := never

INSTALL = $(BIN)/uv pip install -q --python $(BIN)/python -c $(LOCK) -b $(LOCK)
ifeq ($(DEVICE),cpu)
# The builds for the CPU have the same versions under other hashes, and TensorFlow's another name.
INSTALL += --no-verify-hashes --torch-backend cpu --excludes $(VENV)/excluded \
	tensorflow-cpu==$(shell sed -n 's/^tensorflow==\([^ ]*\).*/\1/p' $(LOCK))
EXCLUDED := tensorflow
else ifeq ($(DEVICE),gpu)
INSTALL += --excludes $(VENV)/excluded faiss-gpu
EXCLUDED := faiss-cpu
else ifneq ($(DEVICE),any)
$(error DEVICE is 'any', 'cpu' or 'gpu', not '$(DEVICE)')
endif
ifneq ($(DEVICE),$(or $(shell cat $(VENV)/device 2> /dev/null),$(DEVICE)))
ifeq ($(filter clean,$(MAKECMDGOALS)),)
$(error $(VENV) was installed for DEVICE=$(shell cat $(VENV)/device); run 'make clean' first)
endif
endif
NAMESPACES := unshare --net --pid --fork --kill-child --mount-proc \
	$(shell [ "$$(id -u)" = 0 ] || echo --map-root-user)

.PHONY: demo test lint smoke newest acceptance server-test server-acceptance server-kills \
	podman-test gpu-test reference lock sbom audit clean

demo: $(VENV)/installed
	$(BIN)/vidsim demo

# Each process computes with one thread. Three of them keep two cores busy while tests wait for others.
test: $(if $(LITE),.venv-lite,lint)
	OMP_NUM_THREADS=1 $(if $(LITE),.venv-lite,$(VENV))/bin/python -P -m pytest -n 3 --dist loadfile \
		$(SUITES)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV)/src && ../bin/mypy --config-file vidsim/pyproject.toml \
		-p vidsim.schemas -p vidsim.ingest -p vidsim.search -p vidsim.deploy -m vidsim.cli \
		-m vidsim.__main__

# It has a Milvus Lite, and finds everything else in $(VENV).
.PHONY: .venv-lite
.venv-lite: OLDEST = $(shell sed -n 's/.*"milvus-lite>=\([0-9.]*\).*/\1/p' pyproject.toml)
.venv-lite: SITE = import site; print(site.getsitepackages()[0])
.venv-lite: $(VENV)/installed-test
	$(BIN)/python -m venv --clear --without-pip $@
	$(BIN)/uv pip install -q --no-deps --python $@/bin/python milvus-lite==$(LITE:oldest=$(OLDEST))
	echo "import site; site.addsitedir('$$($(BIN)/python -c '$(SITE)')')" \
		> "$$($@/bin/python -c '$(SITE)')/locked.pth"

smoke: $(VENV)/installed-test
	.ci/smoke $(VENV)

# Outside of the lock and of what it prefers; nothing of this stops anybody.
newest:
	$(MAKE) VENV=.venv-newest .venv-newest/installed-newest
	.ci/smoke .venv-newest

.PHONY: $(VENV)/installed-newest
$(VENV)/installed-newest: | $(BIN)/uv $(VENV)/on-path
	$(BIN)/uv --no-config pip install -q --upgrade --python $(BIN)/python -e '.[test]'

acceptance: $(VENV)/installed-test
	$(BIN)/pytest -m 'acceptance and not server' -s --timeout 3600 $(SUITES)

server-test server-acceptance server-kills: $(VENV)/installed-server-test
	@if $(NAMESPACES) ip link set lo up; then \
		$(NAMESPACES) sh -c 'ip link set lo up && exec "$$@"' sh $(ON_A_SERVER); \
	else \
		echo "NOT TESTED ON A MILVUS SERVER: network namespaces are not permitted here." >&2; \
	fi

server-test: ON_A_SERVER = $(BIN)/pytest -m 'server and not acceptance' -s $(SUITES)
server-acceptance: ON_A_SERVER = $(BIN)/pytest -m 'server and acceptance' -s --timeout 3600 $(SUITES)

server-kills: ON_A_SERVER = $(BIN)/python -P -m vidsim.tests.helpers.command_kills \
	$(or $(KILLS),50) $(or $(SEED),0) --home-of $(or $(VIDEOS),200) --server

gpu-test: $(VENV)/installed-test
	$(BIN)/pytest -m gpu -s tests/gpu

PODMAN_CACHE = VIDSIM_CACHE=$(or $(VIDSIM_CACHE),$(abspath $(VENV))/weights)

# Containers, networks and mounts live in namespaces of their own, and end with them; so does what
# podman notes of images outside of the test's folder.
podman-test: $(VENV)/installed-test
	$(BIN)/pip download -q --no-deps -d $(VENV)/milvus milvus==2.3.5
	mkdir -p /var/lib/containers
	$(PODMAN_CACHE) $(BIN)/vidsim models pull  # there is no network within
	$(PODMAN_CACHE) VIDSIM_TEST_MILVUS=$(VENV)/milvus unshare --net --mount --pid --fork --kill-child \
		--mount-proc sh -c 'ip link set lo up && mount -t tmpfs run /run && \
			mount -t tmpfs containers /var/lib/containers && \
			exec $(BIN)/pytest -m podman tests/deploy/test_podman.py'

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/vidsim
	echo $(EXCLUDED) > $(VENV)/excluded
	awk '/^[^ ]/ { wanted = /^uv==/ } wanted' $(LOCK) > $(VENV)/uv.lock
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	echo $(DEVICE) > $(VENV)/device

# An editable install is a hook that finds the package while Python runs, which mypy cannot follow: by
# this path both find it.
$(VENV)/on-path: | $(BIN)/uv
	echo '$(abspath $(VENV))/src' > \
		"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vidsim.pth"
	touch $@

$(VENV)/installed: pyproject.toml $(LOCK) | $(BIN)/uv $(VENV)/on-path
	$(INSTALL) -e .
	touch $@

$(VENV)/installed-test: pyproject.toml $(LOCK) | $(BIN)/uv $(VENV)/on-path
	$(INSTALL) -e '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-server-test: $(VENV)/installed-test
	$(INSTALL) -e '.[test,server-test]'
	touch $@ $(VENV)/installed-test $(VENV)/installed

reference: $(VENV)/installed-test
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_architecture.py

lock: | $(BIN)/uv
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' $(UPGRADE) -o $(LOCK)
	$(BIN)/python docs/make_tested.py

sbom: | $(BIN)/uv
	$(BIN)/uv tool run -q --from cyclonedx-bom==7.5.0 cyclonedx-py requirements $(LOCK) \
		--pyproject pyproject.toml --output-reproducible -o sbom.cdx.json
	$(BIN)/python docs/check_sbom.py sbom.cdx.json $(LOCK)

audit: | $(BIN)/uv
	$(BIN)/uv tool run -q --from pip-audit==2.10.1 pip-audit -r $(LOCK) --disable-pip --strict

clean:
	rm -rf $(VENV)
