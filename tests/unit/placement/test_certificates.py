"""What a refusal says would do, does; and a little less does not."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import assume, given
from hypothesis import strategies as st

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def site(racks: list[int], capacities: list[int | None] | None = None) -> list[Host]:
    names = [(f"rack{r}", f"r{r}h{h}") for r, size in enumerate(racks, 1) for h in range(1, size + 1)]
    return [
        Host(name, rack, capacity=capacities[at % len(capacities)] if capacities else None)
        for at, (rack, name) in enumerate(names)
    ]


def refusal(demand: Demand, hosts: list[Host], lock: Lock | None = None) -> Refusal | None:
    try:
        place([replace(demand, hosts=tuple(host.name for host in hosts))], hosts, lock or Lock())
    except Refusal as refused:
        return refused
    return None


@given(sizes, st.integers(1, 9), st.integers(1, 4))
def test_as_many_hosts_as_it_says_where_it_says_do_and_one_less_does_not(
    racks: list[int], members: int, limit: int
) -> None:
    hosts = site(racks)
    demand = Demand("ant", 2, members, (), rack_limit=min(limit, members), leads=True)
    refused = refusal(demand, hosts)
    assume(refused)
    assert refused
    assert refused.code in ("RS-011", "RS-012")
    said = re.search(r"Add (\d+) hosts?:(.*) up to (\d+) in another rack\.", str(refused))
    assert said
    short, anywhere = int(said[1]), int(said[3])
    # The hosts that would do, in the order in which they are named; then new racks, each filled.
    named = [rack for count, rack in re.findall(r"up to (\d+) in (rack\d+),", said[2]) for _ in range(int(count))]
    racks_to_be = [*named, *(f"new{at // anywhere}" for at in range(short))]
    for first in (racks_to_be, racks_to_be[len(named) :]):
        added = [Host(f"add{at}", rack) for at, rack in enumerate(first[:short])]
        assert refusal(demand, [*hosts, *added]) is None
        assert refusal(demand, [*hosts, *added[:-1]]) is not None
    assert set(named) == {
        rack for rack, count in Counter(host.rack for host in hosts).items() if count < demand.rack_limit
    }


@given(
    sizes,
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=7),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_as_much_memory_as_it_says_does_and_a_mebibyte_less_does_not(
    racks: list[int], capacities: list[int | None], groups: int, members: int, weight: int
) -> None:
    hosts = site(racks, capacities)
    members = min(members, len(hosts))
    demand = Demand("ant", groups, members, (), weight=weight, rack_limit=members, leads=True)
    refused = refusal(demand, hosts)
    assume(refused)
    assert refused
    assert refused.code == "RS-013"
    more = {host: int(mebibytes) for mebibytes, host in re.findall(r"(\d+) MiB more on (\w+)", str(refused))}
    assert more

    def raised(by: dict[str, int]) -> list[Host]:
        return [replace(h, capacity=(h.capacity or 0) + by[h.name]) if h.name in by else h for h in hosts]

    assert refusal(demand, raised(more)) is None
    for host, mebibytes in more.items():
        assert refusal(demand, raised({**more, host: mebibytes - 1})) is not None


@given(st.integers(2, 6), st.integers(1, 3), st.integers(2, 12))
def test_as_many_masters_as_it_says_do(racks: int, size: int, masters: int) -> None:
    hosts = site([size] * racks)
    demand = Demand("ant", masters, min(3, len(hosts)), (), rack_limit=2, leads=True, leaders_vote=True)
    refused = refusal(demand, hosts)
    assume(refused)
    assert refused
    assume(refused.code == "RS-017")
    fitting = re.search(r"Ask for (\d+)(?: or (\d+))? masters", str(refused))
    if fitting:
        for number in filter(None, fitting.groups()):
            assert refusal(replace(demand, groups=int(number)), hosts) is None
    else:
        assert all(refusal(replace(demand, groups=number), hosts) for number in range(1, 16))
