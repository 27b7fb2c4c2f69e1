# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates
short_description: Give a host its certificates of the services' authorities
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Every service has a certificate authority of its own on the controller, in C(.rackspread/pki/<service>) beside the
    inventory. A host gets a folder with C(tls.key), C(tls.crt) and C(ca.crt) for each certificate that it is to have.
  - The private key is made on the host and never leaves it. The controller sees its public key alone.
  - All certificates of a host, of any number of services, are one task with one call to the host where nothing is to
    be done, and two where something is.
  - A certificate is issued where there is none, where its key, names, addresses or use are not as asked, and where it
    ends within O(renew_days). A new one keeps the key, so that a daemon that starts in between finds a pair that fits.
  - Nothing is restarted or reloaded. The files are in the C(watch) of what reads them (M(rackspread.ha.apply)),
    so the next roll takes a new certificate, one member at a time.
  - An authority that is missing is made once, and only where no host of the play has one of it and no record says
    that the service was formed. A host that trusts another CA than the one at hand is refused.
options:
  certificates:
    description: What the host is to have.
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description: The service whose authority issues it.
        type: str
        required: true
      folder:
        description:
          - Where it lies under C(/etc/rackspread/pki), O(certificates[].service) where it is not given.
          - The certificate by which one service is a client of another lies in a folder within its own,
            C(patroni/etcd). The first part is the certificate's C(OU).
        type: str
      group:
        description: The group that may read the key, made as a system group where there is none. The key is root's.
        type: str
        required: true
      name:
        description: The C(CN), the host's name in the inventory where it is not given.
        type: str
      names:
        description: The DNS names by which its clients call it.
        type: list
        elements: str
        default: []
      addresses:
        description: The IP addresses by which its clients call it.
        type: list
        elements: str
        default: []
      client:
        description: Whether it may be shown by a client as well.
        type: bool
        default: false
  site:
    description: The C(O) of an authority that has to be made. All its certificates share it.
    type: str
    default: rackspread
  days:
    description: How long a new certificate is valid.
    type: int
    default: 730
  renew_days:
    description: Issue a new one where fewer days than this are left.
    type: int
    default: 30
notes:
  - The host needs C(openssl).
  - An action of its own and not the modules of C(community.crypto), because those are five tasks a certificate (key,
    request, fetch, sign, copy), and a task over nine hosts costs more than a second when there is nothing to do.
    Both use the same library.
attributes:
  check_mode:
    support: full
    description: Changes neither host nor controller, and tells what would be issued, on a bare host too.
  diff_mode:
    support: full
    description: Shows names and end of the certificates that change.
seealso:
  - module: rackspread.ha.apply
"""

EXAMPLES = r"""
- name: Give this host its certificates
  rackspread.ha.certificates:
    site: harbour
    certificates:
      - service: etcd
        group: etcd
        names: ["{{ inventory_hostname }}"]
        addresses: [192.0.2.11]
        client: true
      # Patroni is a client of etcd
      - service: etcd
        folder: patroni/etcd
        group: postgres
        client: true
"""

RETURN = r"""
certificates:
  description: The certificates that were (in check mode, would be) issued in this run, and why.
  returned: success
  type: list
  elements: dict
  contains:
    folder:
      description: Where it lies on the host.
      type: str
    reason:
      description: What was wrong with the one before, as a clause.
      type: str
  sample: [{folder: /etc/rackspread/pki/etcd, reason: there is none}]
authorities:
  description: The services whose authority was (in check mode, would be) made by this task.
  returned: success
  type: list
  elements: str
  sample: []
"""
