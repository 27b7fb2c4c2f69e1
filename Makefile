# The front door. Each target makes the environment first (quick where it is there) and runs with its bin folder on PATH.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
IN_ENV = bin=$$(tools/env) && PATH="$$bin:$$PATH"

.PHONY: help env demo test test-long lint unit sanity collection lab bench oracle molecule drill drills clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "%-34s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## install what the repository needs (packages, Python environment) and print its bin folder
	@tools/env

demo: ## boot nine hosts in three racks and run site.yml against them
	@$(IN_ENV) tools/demo

test: ## everything that continuous integration runs
	@tools/suite test

test-long: ## what takes long: first runs killed at six points, all drills' tests, patches, new CAs, moves, settings that break a start
	@tools/suite killed drills upkeep operate operate-redis long

lint unit sanity collection lab: ## one part of the tests
	@tools/suite $@

bench: ## time the placement engine: make bench, or make bench WITH=inventory
	@$(IN_ENV) tools/bench $(WITH)

oracle: ## the placement engine against an independent solver, on thousands of sites: make oracle COUNT=20000 FROM=0
	@$(IN_ENV) RACKSPREAD_ORACLE=$(or $(COUNT),5000) RACKSPREAD_ORACLE_FROM=$(or $(FROM),0) pytest tests/unit/placement/test_oracle.py

molecule: ## the scenarios of the roles, or of one: make molecule ROLE=etcd
	@tools/suite molecule$(if $(ROLE),:$(ROLE))

drill: ## break a rack of the demo: make drill RACK=rack1 [FAULT=uplink] [SERVICE=postgres], or TARGET=leader FAULT=kill
	@$(IN_ENV) ansible-playbook playbooks/drill.yml -e confirm=yes -e drill_service=$(or $(SERVICE),postgres) \
		-e drill_target=$(or $(TARGET),$(RACK),rack1) -e drill_fault=$(or $(FAULT),uplink)

drills: ## every drill of the matrix, then every rack after another: about an hour
	@$(IN_ENV) ansible-playbook playbooks/drill.yml -e confirm=yes -e drill_matrix=true
	@$(IN_ENV) ansible-playbook playbooks/drill.yml -e confirm=yes -e drill_sequence=true

clean: ## take down this tree's labs and remove what runs left in it (the caches stay)
	@[ ! -x lab/lab ] || for lab in $$(lab/lab list | awk 'NR > 1 && index($$NF, "$(CURDIR)/") == 1 {print $$1}'); do \
		lab/lab -l "$$lab" down; \
	done
	@rm -rf .collections .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible rackspread-ha-*.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
