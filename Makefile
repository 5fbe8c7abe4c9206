# Everything runs from .venv, which the first target that needs it makes. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check docs dist format lint types contracts coverage bench bench-report bench-growth bench-million bench-cfp bench-watchers bench-informers stress \
        test-lowest test-freethreaded mutants faults faults-told soak kube-apiserver helm cilium screenshots clean

help:
	@echo "make demo     run the main job on the embedded default (manifests); BACKEND=kvstore for a real etcd,"
	@echo "              BACKEND=kubernetes for pods and deployments of KUBECONFIG, or of the API server of the tests"
	@echo "make test     the whole test suite, doctests and README examples included"
	@echo "make test-lowest    the same with the lowest versions of its dependencies that pyproject.toml allows"
	@echo "make test-freethreaded   a race and the engine's tests without a GIL; says so where there is no such interpreter"
	@echo "make mutants  small changes of the core that some test must notice, into docs/mutants.md; some hours"
	@echo "make check    format, lint, types, import contracts, documentation, then the tests"
	@echo "make docs     the documentation site, into build/docs; fails at any warning, misspelling or dead link"
	@echo "make dist     wheel and source archive, into dist/, checked and each installed into an environment of its own"
	@echo "make coverage branch coverage of statedb/, with the lines that no test runs; fails under 95 percent"
	@echo "make bench    benchmarks, full size"
	@echo "make bench-report   the same at 40 000 rows, written into docs/performance.md"
	@echo "make bench-growth   how times grow with rows, tables, snapshots, streams and watches, written there too; some ten minutes"
	@echo "make bench-million  beside the Go original at 1 000 000 rows, written there too; some ten minutes"
	@echo "make bench-cfp      the benchmark of CFP-44774, written into docs/scale.md; some 15 minutes, needs Go once"
	@echo "make bench-watchers   the API server with 1 000 agents' watches connected, written there too; 10 minutes, needs Go"
	@echo "make bench-informers   beside other clients of an API server, client-go included, written into docs/performance.md; 40 minutes, needs Go"
	@echo "make stress   the long forms of the randomised tests"
	@echo "make faults   every fault at every backend, written into docs/faults.md; some 20 minutes, needs Go once"
	@echo "make faults-told   what log, metrics and alerts tell of each fault, into docs/monitoring.md; 10 minutes, needs promtool"
	@echo "make soak     20 minutes of random faults at all backends at once, written into docs/soak.md; needs Go once"
	@echo "make screenshots  the pictures of the web page in docs/images, made in a real Chromium"
	@echo "make kube-apiserver   build the API server that some tests need, once, into the cache folder (needs Go)"
	@echo "make helm     build Helm, which the tests of the chart need, once, into the cache folder (needs Go)"
	@echo "make cilium   build Cilium's own programs, which ours are compared with, once, into the cache folder (needs Go)"

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "installing statedb into $(VENV), which takes about a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

# An API server without a kubeconfig is that of the tests (`make kube-apiserver` builds it).
demo: $(if $(BACKEND),$(VENV)/.dev,$(VENV)/.run)
ifeq ($(BACKEND)$(KUBECONFIG),kubernetes)
	$(BIN)/python -m tests.apiserver.demo
else
	$(BIN)/statedb demo $(if $(BACKEND),--backend $(BACKEND))
endif

# Most tests wait for servers, so more processes than cores pay. JOBS=0 runs all in one, for a debugger.
JOBS ?= 4

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

LOWEST := build/lowest

$(LOWEST)/.test: pyproject.toml constraints.txt tests/lowest.py
	mkdir -p $(LOWEST)
	$(PYTHON) -m tests.lowest > $(LOWEST)/constraints.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt -e '.[test]'
	@touch $@

test-lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

# From a distribution that has one, or of the source package of Debian: ./configure --disable-gil && make install.
# Only wheels of hypothesis, which may be older than ours; msgspec has some from 3.14 on, and a stand-in before that.
FREETHREADED ?= $(firstword $(foreach name,python3.15t python3.14t python3.13t,$(shell command -v $(name))))

test-freethreaded:
ifeq ($(FREETHREADED),)
	@echo "not tested: there is no free-threaded interpreter here (python3.13t or later); name one with FREETHREADED=..."
else
	$(FREETHREADED) -m venv build/freethreaded
	build/freethreaded/bin/pip install --quiet --disable-pip-version-check -c constraints.txt attrs pytest pytest-timeout sortedcontainers
	build/freethreaded/bin/pip install --quiet --disable-pip-version-check --only-binary :all: hypothesis
	-build/freethreaded/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -c constraints.txt msgspec pyyaml
	build/freethreaded/bin/python -m tests.freethreaded.race
	build/freethreaded/bin/python -m pytest -p tests.freethreaded.plugin --noconftest tests/statedb/engine
endif

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --page docs/mutants.md

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/basedpyright

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

$(VENV)/.release: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	@touch $@

dist: $(VENV)/.release
	rm -rf dist build/try-*
	$(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*
	for file in dist/*; do \
		$(PYTHON) -m venv build/try-$${file##*.} && \
		build/try-$${file##*.}/bin/pip install --quiet --disable-pip-version-check -c constraints.txt "$$file" && \
		build/try-$${file##*.}/bin/statedb demo || exit 1; \
	done

SPELLED := README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md docs deploy statedb ingest consumers examples
PROSE := $(wildcard *.md docs/*.md docs/*/*.md)

docs: $(VENV)/.dev
	$(BIN)/codespell --skip '*.svg,*.js,*.css,*.png' --ignore-words-list NotIn,notin $(SPELLED)
	$(BIN)/proselint --config .proselintrc.json check $(PROSE)
	$(BIN)/python -m sphinx -b html -q -W --keep-going docs build/docs

check: lint types contracts docs test

# Left out: the tests that trace every line of the engine themselves, for two tracers cannot run at once.
coverage: $(VENV)/.dev
	$(BIN)/coverage run -m pytest tests/statedb/engine tests/statedb/testing tests/regressions statedb/engine statedb/testing \
		--ignore-glob='*/test_injection*.py' --ignore=tests/statedb/engine/test_signals.py
	$(BIN)/coverage report

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

bench-report: $(VENV)/.bench
	mkdir -p build && rm -f build/figures.jsonl
	$(BIN)/python -m benchmarks --size full --json build/figures.jsonl
	$(BIN)/python -m benchmarks.report build/figures.jsonl

bench-growth: $(VENV)/.bench
	mkdir -p build && rm -f build/growth.jsonl
	$(BIN)/python -m benchmarks growth --size full --json build/growth.jsonl
	$(BIN)/python -m benchmarks.report build/growth.jsonl

bench-million: $(VENV)/.bench
	mkdir -p build && rm -f build/million.jsonl
	$(BIN)/python -m benchmarks go-million memory --size large --repeats 2 --json build/million.jsonl
	$(BIN)/python -m benchmarks.report build/million.jsonl

bench-cfp: $(VENV)/.bench kube-apiserver
	mkdir -p build && rm -f build/cfp44774.jsonl
	$(BIN)/python -m benchmarks.cfp44774 --json build/cfp44774.jsonl --report

bench-watchers: $(VENV)/.bench kube-apiserver
	$(BIN)/python -m benchmarks.cfp44774.connected --report

# Clients whose package or toolchain is missing are left out, with the reason in the table.
bench-informers: $(VENV)/.bench kube-apiserver
	$(BIN)/python -m benchmarks.informers --report

stress: $(VENV)/.dev
	STATEDB_SEARCH=1 $(BIN)/python -m pytest -m stress --timeout 3600 -o faulthandler_timeout=3600

faults: $(VENV)/.dev kube-apiserver
	$(BIN)/python -m tests.faults --page docs/faults.md

faults-told: $(VENV)/.dev kube-apiserver
	$(BIN)/python -m tests.faults.told --page docs/monitoring.md

soak: $(VENV)/.dev kube-apiserver
	$(BIN)/python -m tests.faults.soak --page docs/soak.md

screenshots: $(VENV)/.dev
	$(BIN)/python -m tests.page.screenshots docs/images

# The one that KUBEBUILDER_ASSETS names, else built: 5 to 40 minutes the first time, nothing the next.
kube-apiserver:
	$(PYTHON) -m tests.apiserver.binary

# The one in the cache folder, else built: some 5 minutes the first time.
helm:
	$(PYTHON) -m tests.deploy.helm

# Those in the cache folder, else built: some 5 to 15 minutes the first time.
cilium:
	$(PYTHON) -m tests.cilium.binary

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
