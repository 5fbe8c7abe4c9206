"""The network between the members of an etcd: it can lose every packet to and from one of them."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack

from ..tcp_proxy import TcpProxy

_FROM = re.compile(rb"\r\nx-server-from: ([0-9a-f]+)\r\n", re.IGNORECASE)


class PeerNetwork:
    """A proxy before the peer URL of each member. Members are known by their ids, as etcd writes them."""

    def __init__(self, resources: ExitStack, targets: list[str]) -> None:
        """``targets`` are the URLs that members listen at for their peers."""
        self.isolated = ""
        self.proxies = [resources.enter_context(_PeerProxy(self, target)) for target in targets]

    def isolate(self, member: str) -> None:
        """Nothing goes to this member or comes from it any more; connections stay, as where packets are dropped."""
        self._change(member)

    def mend(self) -> None:
        """Everything goes through again."""
        self._change("")

    def _change(self, member: str) -> None:
        self.isolated = member
        for proxy in self.proxies:
            proxy.look_again()


class _PeerProxy(TcpProxy):
    def __init__(self, network: PeerNetwork, target: str) -> None:
        super().__init__(target)
        self.member = ""
        self._network = network
        self._from: dict[socket.socket, str] = {}

    def look_again(self) -> None:
        with self._lock:
            self._lock.notify_all()

    def _forward(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        try:
            if not to_client:
                found = _FROM.search(source.recv(65536, socket.MSG_PEEK))
                self._from[source] = self._from[target] = found[1].decode() if found else ""
        except OSError:
            pass  # it is found out below
        try:
            super()._forward(source, target, to_client)
        finally:
            self._from.pop(source, None)

    def _hold(self, source: socket.socket) -> None:
        super()._hold(source)
        with self._lock:
            self._lock.wait_for(lambda: source not in self._open or not self._is_apart(source))

    def _is_apart(self, source: socket.socket) -> bool:
        return bool(self._network.isolated) and self._network.isolated in (self.member, self._from.get(source))
