"""Small irregular sites from seeds: unequal racks, capacities, hosts with a past, locked groups, excluded hosts."""

from __future__ import annotations

from random import Random

from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host
from placement_score import Case


def case(seed: int) -> Case:
    """The case of a seed. Some have no placement at all."""
    random = Random(seed)  # noqa: S311  # nothing secret
    sizes = [random.randint(1, 4) for _ in range(random.randint(1, 4))]
    bounded = random.random() < 0.6
    hosts = tuple(
        Host(f"r{r}h{h}", f"rack{r}", capacity=random.choice([None, 2, 3, 4, 6, 8, 12]) if bounded else None)
        for r, size in enumerate(sizes, 1)
        for h in range(1, size + 1)
    )
    weight, members = random.choice([1, 1, 2, 3]), random.randint(1, min(4, len(hosts)))
    usable = [host.name for host in hosts if random.random() < 0.9]
    before = {}
    if random.random() < 0.5:
        for host in hosts:
            if random.random() < 0.5:
                before[host.name] = random.randint(1, min(4, host.capacity or 4))
    locked = []
    free = {host.name: 99 if host.capacity is None else host.capacity - before.get(host.name, 0) for host in hosts}
    for _ in range(random.choice([0, 0, 1, 2, 4])):
        able = [name for name in free if free[name] >= weight]
        if len(able) < members:
            break
        names = random.sample(able, members)
        for name in names:
            free[name] -= weight
        locked.append((names[0], tuple(names)))
    demand = Demand(
        "ant", len(locked) + random.randint(1, 4), members, tuple(usable), weight=weight,
        rack_limit=random.choice([members, members, max(1, members - 1)]), leads=True,
    )  # fmt: skip
    return Case(hosts, demand, before, tuple(locked))
