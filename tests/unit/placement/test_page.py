"""The page: whole, alone, and with everything on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.page import Picture, page
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site

Plan = Callable[..., Site]
VOID = {"meta", "br", "hr", "wbr"}


class Reader(HTMLParser):
    """Checks that elements nest, and collects chips and what is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.chips: list[tuple[str, str]] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [f"{tag} {name}" for name in values if name in ("src", "href", "srcset", "data")]
        kinds = (values.get("class") or "").split()
        if "chip" in kinds and "key" not in kinds:  # those of the key are no members
            self.chips.append((values["title"] or "", values["class"] or ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_member_is_on_it_and_nothing_is_fetched(plan: Plan, target: dict[str, Any]) -> None:
    site = plan(target)
    text = page(site.picture())
    read = Reader(text)
    members = Counter(key for key, group in site.placement.groups.items() for _ in group.members)
    assert Counter(name for name, _ in read.chips) == members
    leaders = [name for name, kinds in read.chips if "leader" in kinds]
    assert len(leaders) == sum(member.leader for group in site.placement.groups.values() for member in group.members)
    assert read.fetched == []
    assert not any(word in text for word in ("<script", "@import", "url(", "http:", "https:"))
    for needed in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert needed in text
    assert "The loss of any one rack: ✓ everything goes on" in read.text


def test_before_and_after_stand_side_by_side(plan: Plan) -> None:
    services = {"postgres": {"shards": 4}}
    lock = merge(Lock(), plan(services, (1, 1, 1)).placement)
    same = Reader(page(plan(services, (1, 1, 1), lock).picture()))
    assert "Before" not in same.text
    assert not any("gone" in kinds or "new" in kinds for _, kinds in same.chips)
    moved = Reader(page(plan(services, (2, 2, 2), lock).moved(None).picture()))
    assert "Before" in moved.text
    assert "After" in moved.text
    marks = Counter(mark for _, kinds in moved.chips for mark in ("gone", "new") if mark in kinds)
    assert marks["gone"] == marks["new"] >= 6
    assert "postgres_shard: 6 members move, and no way to the best needs fewer than 6." in moved.text


def test_names_are_text_and_lost_hosts_are_drawn() -> None:
    groups = {"<b>&1": [{"host": "a", "leader": True}]}
    before = {"<b>&1": [{"host": "gone<i>", "leader": True}]}
    read = Reader(page(Picture("<script>", {"rack<": ["a"]}, groups, before)))
    assert {name for name, _ in read.chips} == {"<b>&1"}
    for name in ("<script>", "rack<", "gone<i>"):
        assert name in read.text
