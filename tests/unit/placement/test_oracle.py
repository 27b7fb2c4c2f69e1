"""The engine against HiGHS on small irregular sites, and on a fixed corpus that a greedy engine fails.

RACKSPREAD_ORACLE is how many sites are tried (`make oracle` tries thousands), RACKSPREAD_ORACLE_FROM the first seed.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from placement_cases import case
from placement_foil import greedy
from placement_oracle import optimum
from placement_score import Case, Score, score

COUNT = int(os.environ.get("RACKSPREAD_ORACLE", "300"))
FIRST = int(os.environ.get("RACKSPREAD_ORACLE_FROM", "0"))
BATCH = 50
CORPUS = yaml.safe_load((Path(__file__).parent / "corpus.yml").read_text())
PARTS = ("crowding", "load", "fullest host", "racks", "leaders of racks", "leaders of hosts")


def placed(site: Case) -> Score | None:
    """The score of the engine's placement, which must keep the rules; None where it refuses."""
    try:
        placement = place(site.demands(), site.hosts, site.lock())
    except Refusal as refusal:
        return None if refusal.code in ("RS-011", "RS-012", "RS-013") else ((), *[Fraction(-1)] * 3, -1, -1)
    locked = site.lock().groups
    for key, group in placement.groups.items():
        names = [member.host for member in group.members]
        assert len(set(names)) == len(names)
        if key in locked:
            assert group.members == locked[key].members
        else:
            assert set(names) <= set(site.demand.hosts)
            assert sum(member.leader for member in group.members) == 1
    for host in site.hosts:
        new = sum(
            member.host == host.name
            for group in placement.groups.values()
            for member in group.members
            if group.key not in locked
        )
        assert host.capacity is None or site.load(host) + site.demand.weight * new <= host.capacity
    return score(site, placement)


def best_of(site: Case) -> Score | None:
    found = optimum(site)
    return found and found[0]


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, BATCH))
def test_placements_are_the_optimum(first: int) -> None:
    wrong = {
        seed: (found, best)
        for seed in range(first, min(first + BATCH, FIRST + COUNT))
        if (found := placed(case(seed))) != (best := best_of(case(seed)))
    }
    assert not wrong


def entry(shape: dict[str, Any]) -> tuple[Case, Score]:
    """A site of the corpus, and the best score of it."""
    hosts = tuple(Host(name, rack, capacity=size) for rack, of in shape["racks"].items() for name, size in of.items())
    usable = tuple(host.name for host in hosts if host.name not in shape.get("excluded", ()))
    demand = Demand(
        "ant",
        shape["groups"],
        shape["members"],
        usable,
        weight=shape["weight"],
        rack_limit=shape["rack_limit"],
        leads=True,
    )
    locked = tuple((names[0], tuple(names)) for names in shape.get("locked", ()))
    steps, load, fullest, racks, of_racks, of_hosts = shape["best"]
    best = (tuple(steps), Fraction(load), Fraction(fullest), Fraction(racks), of_racks, of_hosts)
    return Case(hosts, demand, shape.get("before", {}), locked), best


@pytest.mark.parametrize("shape", CORPUS, ids=[shape["name"] for shape in CORPUS])
def test_the_corpus_has_an_optimum_that_the_engine_finds_and_a_greedy_one_does_not(shape: dict[str, Any]) -> None:
    site, best = entry(shape)
    assert placed(site) == best == best_of(site)
    found = greedy(site)
    if found is None:
        assert shape["greedy"] == "finds nothing"
        return
    falls_short = [part for part, has, could in zip(PARTS, score(site, found), best, strict=True) if has != could]
    assert falls_short[0] == shape["greedy"]
    assert score(site, found) > best
