"""The state of one connection to a cluster's etcd: its start, its credentials, and the leases of the writers."""

from __future__ import annotations

from ..etcd import Client
from ..keyspace.connect import Connector
from ..keyspace.judging import LeaseChecks


class Connection:
    """Created by `ClusterSource.identify`, and dropped with the client. For the source's thread."""

    __slots__ = (
        "_client",
        "_renewal_at",
        "_renewal_s",
        "_renewal_warning",
        "leases",
        "reconnect_due",
        "since",
    )

    def __init__(self, client: Client | None = None, since: float = 0.0, renewal_s: float = 0.0) -> None:
        """``since`` is the current time. Certificates and passwords are checked every ``renewal_s`` seconds."""
        self._client = client
        self._renewal_s = renewal_s
        self._renewal_at = since + renewal_s
        self._renewal_warning = ""
        self.leases = LeaseChecks()
        self.since = since
        self.reconnect_due = False
        """Whether to replace this connection, without an error."""

    @property
    def client(self) -> Client:
        """The client of this connection."""
        assert self._client is not None
        return self._client

    @property
    def warning(self) -> str:
        """A problem that an operator should fix although the source works; empty if there is none."""
        return self._renewal_warning or self.leases.warning

    def check_credentials(self, connector: Connector, now: float) -> None:
        """If certificates or the password have changed and are valid, let a new connection be made."""
        if now < self._renewal_at:
            return
        self._renewal_at = now + self._renewal_s
        try:
            self.reconnect_due |= connector.credentials_changed()
            self._renewal_warning = ""
        except OSError as error:
            self._renewal_warning = f"renewed credentials are not used: {error}"
