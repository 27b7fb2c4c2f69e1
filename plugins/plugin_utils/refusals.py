# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reason for which rackspread does not go on: one table, one exception.

A refusal has a stable code, one sentence about this very case and a remedy. The sentence is written where the case is
found; the remedy comes from the table, so that a code always has one way out. `docs/refusals.md` has a section a code.

Ranges: 001-029 spec and inventory (before any connection), 030-039 runs and locks, 040-049 secrets and lock over a
living site, 050-059 hosts as they were found, 060-079 formation, 080-089 apply and roll, 090-099 packages, 100-109
drills, 110-119 what an operator asks for, 120-139 patches, certificates, what leaves management.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What a code stands for: a title for the docs, and a remedy, a template that `Refusal` fills with its facts."""

    title: str
    remedy: str


REFUSALS: dict[str, Row] = {
    # 001-029: the spec and the inventory
    "RS-001": Row("The spec can't be read", "Write it as in docs/placement.md: `plugin`, `racks` and `services`."),
    "RS-002": Row("Unknown key in the spec", "{hint}"),
    "RS-003": Row("Unknown service", "{hint}"),
    "RS-004": Row("A value in the spec is not of its kind", "Give {wanted}."),
    "RS-005": Row("An even number of voters", "Ask for {odd}: a voter more than an odd number adds no safety."),
    "RS-006": Row(
        "No rack found",
        "Put the hosts into groups of that name in a file that is parsed before the spec (hosts.yml comes before"
        " services.rackspread.yml), or set `racks` in the spec or `rackspread_rack` on the hosts.",
    ),
    "RS-007": Row(
        "A host is in two racks",
        "Leave it in the one rack where it stands, or narrow the pattern `racks` of the spec.",
    ),
    "RS-008": Row("A pattern matches no host", "Name a host or a group of the inventory whose hosts stand in racks."),
    "RS-009": Row(
        "A host has no IP address",
        "Set `rackspread_address` on {host} to the address that the other members reach it by.",
    ),
    "RS-010": Row("Two hosts have one address", "Give each host its own `rackspread_address` or `ansible_host`."),
    "RS-011": Row("Too few hosts", "{smallest} Or ask for fewer members."),
    "RS-012": Row("The loss of one rack would stop the service", "{smallest}"),
    "RS-013": Row(
        "Too little memory",
        "Raise `rackspread_capacity` where there is more memory, lower the `weight` in the spec, or add hosts.",
    ),
    "RS-014": Row(
        "A VIP outside the balancers' network",
        "Choose an address of the network that the balancers are in, with its prefix length.",
    ),
    "RS-015": Row(
        "Balancers in different networks",
        "VRRP needs one L2 network over the racks: choose balancers in one network with `hosts`, or set `vips: []`.",
    ),
    "RS-016": Row(
        "No port left",
        "Give the component a longer block with `ports` in the spec, or ask for fewer groups: an index is never given"
        " twice, and each has ports of its own.",
    ),
    "RS-017": Row("The loss of one rack would take the majority of masters", "{way}"),
    "RS-018": Row(
        "Fewer than there are",
        "Put {key} back to {live}. Taking members away is a step of its own and never an effect of a run.",
    ),
    "RS-019": Row(
        "A host of the lock left the inventory",
        "Put {host} back into the inventory and into its rack. If the machine is gone for good, install another one"
        " under its name, rack and address, and the next run makes its members anew there, or have them rebuilt on"
        " other hosts: replace.yml, while {host} is still in the inventory.",
    ),
    "RS-020": Row(
        "A formed member's host changed",
        "Put {what} back to {was}: members that hold data are not moved by an edit of the inventory.",
    ),
    "RS-021": Row("A VIP is taken", "Choose an address that no host and no other VIP has."),
    "RS-022": Row(
        "No site in this run",
        "Run with an inventory that holds a spec (`-i inventories/lab`, with its services.rackspread.yml).",
    ),
    "RS-023": Row(
        "Planned, but nothing builds it yet",
        "Take it out of the spec; `plan.yml` can show it all the same.",
    ),
    "RS-024": Row(
        "Two specs in one inventory",
        "Keep one spec an inventory, and give a second site an inventory folder of its own.",
    ),
    "RS-025": Row(
        "Two members would have one port",
        "Give one of the components another range of `ports` in the spec.",
    ),
    # 030-039: runs and locks
    "RS-030": Row("Another run changed the lock", "See what the other run did (`plan.yml`), then run again."),
    "RS-031": Row("Another run is going on", "Wait until it has ended, then run again."),
    "RS-032": Row(
        "The lock can't be read",
        "Restore {path} from its last good copy, or rebuild it with relock.yml. Do not remove it.",
    ),
    "RS-033": Row(
        "A host could not be asked before a lock is made",
        "Make {hosts} reachable, or take them out of the inventory for now: nobody else can tell whether they"
        " belong to a site already.",
    ),
    # 040-049: secrets and lock over a living site
    "RS-040": Row(
        "A formed service's secrets or CA are gone",
        "Put {path} back from where the site's `.rackspread` folder is kept (another clone, the backup). A new"
        " one would lock the living members out.",
    ),
    "RS-041": Row(
        "A host trusts another CA",
        "Run with the `.rackspread/pki/{service}` folder by which {host} was built. If the host was another"
        " site's, remove {path} there first.",
    ),
    "RS-042": Row("A file of the site's secrets or CAs can't be read", "Restore {path} from its last good copy."),
    "RS-043": Row("A secret is nowhere", "Set {given}, or run site.yml, which makes what is missing."),
    "RS-044": Row("A CA can't issue", "Put the whole folder {path} back for this run, its ca.key included."),
    "RS-045": Row(
        "A host could not be asked before a CA is made",
        "Make {host} reachable, or say with --limit which hosts are to be built.",
    ),
    "RS-046": Row(
        "No folder for the site's state",
        "Run for hosts of an inventory that is a file or a folder (`-i inventories/lab`).",
    ),
    "RS-047": Row(
        "No lock over a living site",
        "Put the site's `.rackspread` folder back beside the inventory. If only lock.yml is lost, relock.yml"
        " rebuilds it.",
    ),
    "RS-048": Row(
        "A host remembers otherwise than the lock",
        "Run with the latest `.rackspread` folder of the site. If it is the latest: is {host} a host of another site?"
        " relock.yml rebuilds a lock from what all hosts remember.",
    ),
    "RS-049": Row("The lock can't be rebuilt", "Put the site's `.rackspread` folder back from where it is kept."),
    # 050-059: hosts as they were found
    "RS-050": Row("Another release than the roles are made for", "Install Debian 13 on {host}."),
    "RS-051": Row(
        "A clock apart from the others",
        "Set the clock of {host}, and find out why its time service did not (`chronyc tracking`).",
    ),
    "RS-052": Row(
        "Less memory than the members need",
        "Lower the `weight` in the spec to what a member really takes, keep members off {host} with `exclude`, or give"
        " it more memory.",
    ),
    "RS-053": Row(
        "Another program has a member's port",
        "Stop and disable {what} there, or keep members off this host with `exclude`.",
    ),
    "RS-054": Row(
        "A host without its own address",
        "Set `rackspread_address` of {host} to an address that one of its interfaces has.",
    ),
    "RS-055": Row(
        "Balancers that can't share a VIP",
        "VRRP needs one L2 network over the racks: choose balancers and VIPs in one network, or set `vips: []`.",
    ),
    "RS-056": Row(
        "Data where a member should go",
        "Look what {path} is, and move it away on {host} by hand if nothing needs it. A living cluster can't be adopted"
        " yet.",
    ),
    "RS-057": Row(
        "A host that remembers another place",
        "Run with the inventory that {host} was built from, or put it back to what it was. If it is to begin anew as"
        " an empty host, remove /etc/rackspread/record.yml there, and no data.",
    ),
    "RS-058": Row(
        "Kernel settings that exclude each other",
        "Take {key} out of `base_sysctl`, or keep the services on different hosts.",
    ),
    "RS-059": Row(
        "Two hosts that are one machine",
        "Keep one name a machine. Clones of one image each need their own: empty /etc/machine-id and reboot.",
    ),
    # 060-079: the formation of a group
    "RS-060": Row(
        "Data of another cluster or site",
        "Look at {hosts} what it is. If nobody needs it, remove it there by hand; a run never does. Living"
        " clusters are not adopted yet.",
    ),
    "RS-061": Row(
        "A member can't be reached", "Nothing in the group is changed. Make {hosts} reachable and run again."
    ),
    "RS-062": Row(
        "A volume is not mounted",
        "Mount it on {hosts} and run again. If the disk was replaced, replace.yml has its members rebuilt from the"
        " living; or give the new file system the UUID of the lost one (tune2fs -U, xfs_admin -U).",
    ),
    "RS-063": Row(
        "Files where a member's data should go",
        "Look at {hosts} what they are, and remove them there by hand or give the data another folder.",
    ),
    "RS-064": Row(
        "Begun under different intents",
        "Restore the lock by which the group was begun. Nothing was ever formed, so the half-formed data on"
        " {hosts} may also be removed by hand.",
    ),
    "RS-065": Row(
        "No majority or leader that could take a member in",
        "Bring the stopped members back first; look at their journals.",
    ),
    "RS-066": Row(
        "All disks of a formed group are blank",
        "Mount the data volumes of {hosts} and run again. If the data is lost, restore it: only a restore begins"
        " such a group anew.",
    ),
    "RS-067": Row(
        "More than one member lost its data",
        "Bring back the disk of at least one of {hosts}, or restore the group. Members are replaced one at a"
        " time only.",
    ),
    "RS-068": Row(
        "A member does not join", "See the journal of its unit on {hosts}; run again when the reason is gone."
    ),
    "RS-069": Row(
        "A step of the formation failed",
        "Remove the reason on {hosts} and run again: a run goes on where this one stopped.",
    ),
    "RS-070": Row("Nothing is staged for a member", "Run without --limit, and see why staging failed on {hosts}."),
    "RS-071": Row(
        "A shard of a cluster that can't be formed whole",
        "Its shards are formed together. Remove what keeps the others from it, then run again.",
    ),
    "RS-072": Row(
        "Too few masters for one cluster", "Ask for at least three shards, with their leaders in three racks."
    ),
    "RS-073": Row(
        "Slots that do not move",
        "All slots are served by those that have them. See the journals of the masters, {hosts} first, then run again:"
        " that goes on where this stopped.",
    ),
    "RS-074": Row(
        "A group of a cluster that is not formed yet", "Bring {missing} up first: see what keeps it, then run again."
    ),
    # 080-089: apply and roll
    "RS-080": Row(
        "A member can't be spared",
        "Nothing was restarted on {hosts}. Bring the other members back first, then run again.",
    ),
    "RS-081": Row(
        "A member did not come up with what was staged",
        "It runs with what it had before, no other member was touched. Correct the setting and run again.",
    ),
    "RS-082": Row(
        "A member came up neither with the new nor with the old",
        "See the journal of its unit on {hosts}. No other member was touched. Correct the setting and run again:"
        " a broken member comes first.",
    ),
    "RS-084": Row(
        "The leader did not hand over", "Nothing was restarted. See the journal of its unit on {hosts}, and run again."
    ),
    "RS-085": Row("A topic or user of Kafka that can't be had", "{hint}"),
    # 100-109: drills
    "RS-100": Row(
        "A site that is not meant for drills",
        "Set `rackspread_drills: true` for all its hosts, if it may be broken on purpose.",
    ),
    "RS-101": Row("No such drill", "{hint}"),
    "RS-102": Row(
        "A site that is not whole",
        "Bring it back to full redundancy first (site.yml, status.yml): a drill takes away what is left.",
    ),
    "RS-103": Row(
        "A fault that can't be made here, or not be undone",
        "Choose another fault or target; docs/drills.md says what each needs.",
    ),
    "RS-104": Row(
        "No client that counts",
        "Set `rackspread_probe_host` to a host outside the racks that reaches the site as its clients do.",
    ),
    "RS-105": Row("A drill that nobody confirmed", "Answer yes when it asks, or give `-e confirm=yes`."),
    "RS-106": Row(
        "A site that did not come back",
        "The fault is ended. See with status.yml what is missing, and in the journals why; site.yml repairs what it"
        " can.",
    ),
    "RS-107": Row(
        "Acknowledged writes are missing, or twice there",
        "See {path}. Keep the hosts' journals: this must never happen, and is worth a report.",
    ),
    # 110-119: moves of members, and what else an operator asks for
    "RS-110": Row(
        "A member can't leave its group",
        "The others serve. Remove the reason and run again: the move goes on where it stopped.",
    ),
    "RS-111": Row("A host that still serves", "retire.yml empties a host that lives; replace.yml is for one lost."),
    "RS-112": Row(
        "Too little is left to rebuild from",
        "Bring {hosts} back first, or restore the group: members are rebuilt from the living.",
    ),
    "RS-113": Row("Nobody confirmed it", "Answer yes when it asks, or give `-e confirm=yes`."),
    "RS-114": Row("No such host", "Name hosts of the inventory that stand in racks, as in `-e {key}=r1h1`."),
    "RS-115": Row(
        "A site that is not whole",
        "Bring it back to full redundancy first (site.yml, status.yml; replace.yml for a host that is lost).",
    ),
    "RS-116": Row("A host that can't take a member", "Make {host} reachable as the other hosts are, or exclude it."),
    # 120-139: patches, certificates, what leaves management
    "RS-120": Row(
        "A site in maintenance",
        "Somebody works on it. Take `rackspread_maintenance` out of the inventory when they are done, then run again.",
    ),
    "RS-121": Row(
        "Patroni is paused",
        "Ask who paused {groups} and why; `patronictl resume` ends that. Then run again.",
    ),
    "RS-122": Row(
        "A host can't be spared",
        "{host} was left as it is. See with status.yml what is missing, bring that back, then run again.",
    ),
    "RS-123": Row(
        "A host, or the site after it, did not come back",
        "Look at the console of {host}. No other host was touched. Run again when the site is whole: what is done is"
        " not done twice.",
    ),
    "RS-124": Row(
        "Updates that can't be told or taken",
        "Look at {host}: `apt-get update`, `apt-get upgrade`, `dpkg --audit`. It was not rebooted. Then run again.",
    ),
    "RS-125": Row(
        "A CA or passwords that can't be changed now",
        "Bring the site to what is asked for first (site.yml), so that every host and member takes part.",
    ),
    "RS-126": Row(
        "A phase of a change that is not rolled out",
        "The phase stays, and nobody is locked out. Bring back what is missing and run the same playbook again.",
    ),
    "RS-127": Row("Nothing of that name to forget", "The lock knows {known}; a member is named `<group>/<id>`."),
    "RS-128": Row(
        "A host that can't forget now",
        "Make {hosts} reachable and run again: what a host remembers and the lock does not would stop every run.",
    ),
    "RS-129": Row(
        "Adoption is not built",
        "Build the service beside it with site.yml, and bring the data over by its own means (a dump, replication).",
    ),
    "RS-130": Row(
        "Something that others still stand on",
        "{way}",
    ),
    "RS-131": Row(
        "Moves that are not ended",
        "Run site.yml, or the playbook that began them, to its end. Then run again.",
    ),
}


class Refusal(Exception):
    """Raised where rackspread does not go on.

    Args:
        code: a key of `REFUSALS`.
        sentence: what is wrong in this very case, with names and numbers; gets its full stop where it has none.
        facts: what the table's remedy asks for.

    `str()` of it is what the operator reads: "RS-010: r1h1 and r1h2 have the address 192.0.2.1. Give each host …".
    """

    def __init__(self, code: str, sentence: str, **facts: object) -> None:
        self.code = code
        self.sentence = sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
        self.remedy = REFUSALS[code].remedy.format(**facts)
        super().__init__(f"{code}: {self.sentence} {self.remedy}")
