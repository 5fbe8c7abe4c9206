"""How much of what. At scale 1 these are the numbers of the CFP."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

CLUSTER = "cluster1"
CLUSTER_ID = 1
PODS_OF_A_DEPLOYMENT = 10
_FIRST_IDENTITY = 70_000


class Deployment(NamedTuple):
    """Pods with one identity and one service; ``number`` is unique over all cycles."""

    number: int
    namespace: str
    name: str
    identity: int
    ips: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run makes: so many objects, at so many pods a second."""

    nodes: int
    agents: int
    namespaces: int
    deployments: int
    pods_a_second: float
    cycles: int

    @property
    def pods(self) -> int:
        """Of one cycle."""
        return self.deployments * PODS_OF_A_DEPLOYMENT

    def cycle(self, number: int) -> list[Deployment]:
        """The deployments of a cycle, by number; no address and no identity is used in two cycles."""
        first = number * self.deployments
        return [self._deployment(first + each) for each in range(self.deployments)]

    def _deployment(self, number: int) -> Deployment:
        start = number * PODS_OF_A_DEPLOYMENT
        ips = tuple([_ip(each) for each in range(start, start + PODS_OF_A_DEPLOYMENT)])
        return Deployment(number, f"ns-{number % self.namespaces}", f"app-{number}", _FIRST_IDENTITY + number, ips)


def scaled(scale: float, *, agents: int, rate: float, cycles: int) -> Plan:
    """The CFP's numbers times ``scale``, with at most so many agents."""
    nodes = max(1, round(1000 * scale))
    return Plan(
        nodes=nodes,
        agents=min(agents, nodes),
        namespaces=max(1, round(1000 * scale)),
        deployments=max(1, round(4000 * scale)),
        pods_a_second=rate,
        cycles=cycles,
    )


def node_name(number: int) -> str:
    """As Kubernetes knows it."""
    return f"node-{number}"


def node_ip(number: int) -> str:
    """The address of a node."""
    return f"172.18.{number >> 8}.{number & 255}"


def _ip(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
