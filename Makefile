# Two commands are all: `make demo` and `make test`. Both create .venv and install what pyproject.toml pins.
VENV   ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
READY  := $(VENV)/.installed
SOURCE := $(abspath $(VENV))/llama-cpp-source
TOOLS  := $(abspath $(VENV))/debian-tools
PYTEST ?= -n 2 --dist loadfile

export OMP_WAIT_POLICY = PASSIVE
export TOKENIZERS_PARALLELISM = false

APT := DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20

.PHONY: demo test browser check lint types imports package bench scan soak containers format clean help

help:            ## this list
	@grep -E '^[a-z]+: .*##|^[a-z]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt images/llama_cpp.cmake
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or 3.12 is needed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { echo "error: $(PYTHON) is not Python 3.11 or 3.12; say which one with PYTHON=…"; exit 1; }
	@echo "installing into $(VENV): about 5 minutes the first time (llama.cpp is compiled)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) scikit-build-core cmake ninja
	PATH="$(CURDIR)/$(BIN):$$PATH" CMAKE_GENERATOR=Ninja \
	  CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF '-DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/images/llama_cpp.cmake'" \
	  $(PIP) --no-build-isolation llama-cpp-python
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps gbstats==0.8.0 || echo "no gbstats: the tests that compare with it are skipped"   # declares numpy<2, runs on 2.4
	@touch $@

demo: $(READY)   ## one turn of the loop on the bundled feedback, with its own services; no network needed
	$(BIN)/flytewheel demo

browser:         # Debian's chromium, for the tests of the pages; where it cannot be had they are skipped
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium, for the tests of the pages" \
	    && { $(APT) update; $(APT) install -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1; } \
	  || echo "no chromium: the tests of the pages are skipped (apt-get install chromium)"

$(SOURCE): | $(READY)   # llama.cpp's converter, vocabularies and chat templates, that tests compare with; without them these are skipped
	@rm -rf $@.part && mkdir -p $@.part && PATH="$(abspath $(BIN)):$$PATH" timeout 300 $(BIN)/python -m pip download \
	  --disable-pip-version-check -q -c constraints.txt --no-binary :all: --no-deps --no-build-isolation -d $@.part llama-cpp-python \
	  && tar xzf $@.part/*.tar.gz -C $@.part --strip-components=1 && mv $@.part $@ \
	  || { rm -rf $@.part; echo "no source archive of llama-cpp-python: the tests that compare with llama.cpp's own are skipped"; }

$(TOOLS): | $(READY)   # Prometheus's promtool out of Debian's package, which is unpacked and not installed: it would start a server
	@rm -rf $@.part && mkdir -p $@.part && cd $@.part && { [ "$$(id -u)" != 0 ] || $(APT) update; \
	  $(APT) download prometheus; } >/dev/null 2>&1 && dpkg -x prometheus_*.deb . && mkdir $@ && mv usr/bin/promtool $@ \
	  || echo "no promtool: the tests that show /metrics to it are skipped (apt-get install prometheus)"; rm -rf $@.part

test: $(READY) browser | $(SOURCE) $(TOOLS)   ## all tests
	PATH="$$PATH:$(TOOLS)" OMP_NUM_THREADS=1 LLAMA_CPP_SOURCE="$$(ls -d $(SOURCE)/vendor/llama.cpp 2>/dev/null)" $(BIN)/python -m pytest $(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

# DOCKER_HOST points nowhere, so that checking never builds or asks for an image.
OFFLINE := DOCKER_HOST=tcp://127.0.0.1:9
DOMAINS := $(notdir $(basename $(wildcard images/domains/*.yaml)))

package: $(READY)   # what Flyte would be told, by the settings of each domain
	for domain in $(DOMAINS); do $(OFFLINE) FLYTEWHEEL_DOMAIN=$$domain $(BIN)/pyflyte --config flyte.config.yaml --pkgs workflows \
	  package --output $(VENV)/flyte-$$domain.tgz --force || exit 1; done
	$(OFFLINE) $(BIN)/pyflyte --config flyte.config.yaml register --dry-run --non-fast --version checked workflows

check: lint types imports package test   ## every gate: ruff, formatting, types, import contracts, Flyte packaging, tests

bench: $(READY)  ## what is claimed about time and memory, measured
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.permuted --quick
	$(BIN)/python -m benchmarks.pii --quick
	$(BIN)/python -m benchmarks.abuse --quick
	$(BIN)/python -m benchmarks.windows --quick
	$(BIN)/python -m benchmarks.curation --quick
	$(BIN)/python -m benchmarks.kills --quick
	$(BIN)/python -m benchmarks.methods --quick
	$(BIN)/python -m benchmarks.training --quick
	$(BIN)/python -m benchmarks.plan --quick
	$(BIN)/python -m benchmarks.metrics --quick
	$(BIN)/python -m benchmarks.gate --quick
	$(BIN)/python -m benchmarks.groundedness --quick
	$(BIN)/python -m benchmarks.registry --quick
	$(BIN)/python -m benchmarks.export --quick
	$(BIN)/python -m benchmarks.tokens --quick
	$(BIN)/python -m benchmarks.headers --quick
	$(BIN)/python -m benchmarks.parity --quick
	$(BIN)/python -m benchmarks.log --quick
	$(BIN)/python -m benchmarks.assignment --quick
	$(BIN)/python -m benchmarks.calibration --quick
	$(BIN)/python -m benchmarks.drift --quick
	$(BIN)/python -m benchmarks.statistics --quick
	FLYTEWHEEL_LITELLM="$$(ls $(CURDIR)/.venv-litellm/bin/litellm 2>/dev/null)" $(BIN)/python -m benchmarks.router --quick

.venv-litellm:   # LiteLLM's proxy, which benchmarks.router compares with where it is; in an environment of its own, its pins are not ours
	$(PYTHON) -m venv $@ && $@/bin/python -m pip install -q 'litellm[proxy]' || { rm -rf $@; exit 1; }

.venv-scan:      # what looks for known holes, in an environment of its own: checkov alone brings a hundred packages
	$(PYTHON) -m venv $@ && $@/bin/python -m pip install -q bandit checkov pip-audit || { rm -rf $@; exit 1; }

scan: .venv-scan ## security: dependencies with known holes, our code, and what deploy/ builds
	.venv-scan/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt
	@echo "bandit, without B108 (places of a data folder), B314 (our own SVG), B608 (constants in SQL), B615 (folders, not the hub)"
	.venv-scan/bin/bandit --quiet --recursive --severity-level medium --confidence-level medium --skip B108,B314,B608,B615 flytewheel registry router tasks workflows images deploy
	.venv-scan/bin/checkov --quiet --compact --config-file deploy/checkov.yaml

soak: $(READY)   ## ten minutes of load on the router while everything around it is killed (SOAK="--minutes 60" for longer)
	$(BIN)/python -m benchmarks.soak $(or $(SOAK),--minutes 10)

containers: $(READY)   ## every task in a real container, on Debian as root; no engine, no registry (CONTAINERS="--scene weekly")
	$(BIN)/python -m deploy.containers $(CONTAINERS)

format: $(READY) ## mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment; state under .flytewheel stays
	rm -rf $(VENV) build *.egg-info
