"""Hosts on one machine: network namespaces around a router, which can make all packets of one host vanish.

Nothing of the machine's own network is touched. A host that is cut off is not refused: its packets are
dropped at the router, without a word to anybody, as by a broken switch.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence

FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"


class NotAllowed(Exception):
    """This machine gives us no network namespaces."""


class Network:
    """A router, and hosts by name with one address each. `close` removes all of it."""

    def __init__(self, names: Sequence[str]) -> None:
        """Raises `NotAllowed`."""
        if shutil.which("ip") is None:
            raise NotAllowed("no program `ip` on this machine (Debian: apt-get install iproute2)")
        self.addresses = {name: f"10.213.{number}.2" for number, name in enumerate(names)}
        self._made: list[str] = []
        try:
            self._make("router")
            run(*self.command("router", "sh", "-c", FORWARD))
            for name, address in self.addresses.items():
                self._connect(name, address)
            self.cut(names[0])
            self.heal(names[0])
        except subprocess.CalledProcessError as error:
            self.close()
            raise NotAllowed(f"no network namespaces on this machine: {error.stderr.strip()}") from error

    def command(self, host: str, *command: str) -> tuple[str, ...]:
        """``command``, to be run on ``host``."""
        return (str(shutil.which("ip")), "netns", "exec", self._namespace(host), *command)

    def cut(self, host: str) -> None:
        """From now on nothing from or to ``host`` gets past the router."""
        for way in ("from", "to"):
            self._ip("router", "rule", "add", way, self.addresses[host], "blackhole")

    def heal(self, host: str) -> None:
        for way in ("from", "to"):
            self._ip("router", "rule", "del", way, self.addresses[host], "blackhole")

    def close(self) -> None:
        while self._made:
            run("ip", "netns", "delete", self._made.pop())

    def _connect(self, host: str, address: str) -> None:
        """A cable from the router to a new host."""
        self._make(host)
        gateway = address.removesuffix("2") + "1"
        link = ("type", "veth", "peer", "name", "eth0", "netns", self._namespace(host))
        self._ip("router", "link", "add", host, *link)
        self._ip("router", "address", "add", f"{gateway}/30", "dev", host)
        self._ip("router", "link", "set", host, "up")
        self._ip(host, "address", "add", f"{address}/30", "dev", "eth0")
        self._ip(host, "link", "set", "eth0", "up")
        self._ip(host, "route", "add", "default", "via", gateway)

    def _make(self, host: str) -> None:
        run("ip", "netns", "add", self._namespace(host))
        self._made.append(self._namespace(host))
        self._ip(host, "link", "set", "lo", "up")

    def _ip(self, host: str, *arguments: str) -> None:
        run("ip", "-n", self._namespace(host), *arguments)

    @staticmethod
    def _namespace(host: str) -> str:
        return f"shop-{os.getpid()}-{host}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
