# The front door. Each target makes the environment first (quick where it is there) and runs with its bin folder on PATH.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
IN_ENV = bin=$$(tools/env) && PATH="$$bin:$$PATH"

.PHONY: help env demo test test-long lint unit sanity collection lab bench oracle molecule drill clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "%-34s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## install what the repository needs (packages, Python environment) and print its bin folder
	@tools/env

demo: ## boot nine hosts in three racks and run site.yml against them
	@$(IN_ENV) tools/demo

test: ## everything that continuous integration runs
	@tools/suite test

test-long: ## what takes long: first runs killed at six points, settings that no member can start with
	@tools/suite killed long

lint unit sanity collection lab: ## one part of the tests
	@tools/suite $@

bench: ## time the placement engine: make bench, or make bench WITH=inventory
	@$(IN_ENV) tools/bench $(WITH)

oracle: ## the placement engine against an independent solver, on thousands of sites: make oracle COUNT=20000 FROM=0
	@$(IN_ENV) RACKSPREAD_ORACLE=$(or $(COUNT),5000) RACKSPREAD_ORACLE_FROM=$(or $(FROM),0) pytest tests/unit/placement/test_oracle.py

molecule: ## the scenarios of the roles, or of one: make molecule ROLE=etcd
	@tools/suite molecule$(if $(ROLE),:$(ROLE))

clean: ## take down this tree's labs and remove what runs left in it (the caches stay)
	@[ ! -x lab/lab ] || for lab in $$(lab/lab list | awk 'NR > 1 && index($$NF, "$(CURDIR)/") == 1 {print $$1}'); do \
		lab/lab -l "$$lab" down; \
	done
	@rm -rf .collections .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible rackspread-ha-*.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
