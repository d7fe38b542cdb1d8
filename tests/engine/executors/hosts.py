"""Hosts made of network namespaces: each with an address and a loopback of its own.

They see each other over a bridge that lies in the first one's namespace. No interface of theirs is
in this machine's own network, and they have no route out of theirs, so nothing in them can be
reached from outside, nor reach out. Needs root and ``ip`` (Debian: iproute2).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

from tests.engine.executors.clusters import Host

_NUMBERS = count()


@contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
    """Make hosts, and remove them with all that is in them but processes."""
    run = next(_NUMBERS)
    names = [f"evensplit-{os.getpid()}-{run}-{index}" for index in range(number)]
    made = []
    with ExitStack() as stack:
        for index, name in enumerate(names):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
            if index == 0:
                _ip("-n", name, "link", "add", "bridge", "type", "bridge")
                device = "bridge"
            else:
                port, device = f"port{index}", "eth0"
                _ip("-n", name, "link", "add", device, "type", "veth", "peer", "name", port,
                    "netns", names[0])  # fmt: skip
                _ip("-n", names[0], "link", "set", port, "master", "bridge", "up")
            address = f"10.99.0.{index + 1}"
            _ip("-n", name, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "up")
            # `ip netns exec` would also hide the machine's control groups.
            made.append(Host(address, ("nsenter", f"--net=/run/netns/{name}")))
        yield made


def cut_off(host: Host) -> None:
    """Take a host's cable out: nothing says that it is gone."""
    subprocess.run([*host.prefix, "ip", "link", "set", "eth0", "down"], check=True)


def _ip(*words: str) -> None:
    ended = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {ended.stderr.strip()} (root is needed)")
