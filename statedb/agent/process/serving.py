"""The HTTP servers of an agent: the main one, and one for probes if it is configured."""

from __future__ import annotations

from ..errors import StartError
from ..http.access import Access
from ..http.app import make_app
from ..http.limits import Counts, Limits
from ..http.metrics import ServerCollector
from ..http.page.live import Live
from ..http.probes import LIMITS as PROBE_LIMITS, make_probes
from ..http.resources import Resources
from ..http.server import Server
from ..http.streams import Streams
from ..http.tls import TlsFiles
from ..metrics.certificates import CertificateCollector
from ..metrics.exposition import Metrics
from .certificates import certificate_files
from .config import Config


class Serving:
    """Both servers. They listen from creation on, and are started and stopped together."""

    def __init__(self, resources: Resources, streams: Streams, live: Live, config: Config, limits: Limits) -> None:
        """Raises StartError, after which nothing listens."""
        http = config.http
        readiness = resources.readiness
        metrics = Metrics(resources.db, readiness)
        metrics.register(CertificateCollector(readiness, certificate_files(config)))
        access = None if http.access is None else Access(http.access)
        app = make_app(
            resources,
            streams,
            limits,
            metrics=metrics,
            access=access,
            browsers=not http.listen.path,
            loopback=http.listen.is_local,
            live=live,
        )
        tls = None if http.tls is None else TlsFiles(http.tls, certificate_required=not http.has_tokens)
        self._server = Server(http.listen, app, limits, tls=tls)
        metrics.register(ServerCollector(self._server, app, streams, limits))
        self._probes: Server | None = None
        if http.probes is not None:
            try:
                self._probes = Server(http.probes, make_probes(readiness, metrics), PROBE_LIMITS, option="http.probes")
            except StartError:
                self._server.end()
                raise

    @property
    def address(self) -> str:
        """``http://127.0.0.1:PORT``, ``https://...`` or ``unix:/path``."""
        return str(self._server.address)

    @property
    def probes_address(self) -> str:
        """The address of the server for probes; empty if there is none."""
        return "" if self._probes is None else str(self._probes.address)

    @property
    def counts(self) -> Counts:
        """Counts of connection events of the main server."""
        return self._server.counts

    def begin(self) -> None:
        """Start to answer requests."""
        self._server.begin()
        if self._probes is not None:
            self._probes.begin()

    def end(self) -> None:
        """Stop listening, and close all connections within about a second each. Call it at most once."""
        self._server.end()
        if self._probes is not None:
            self._probes.end()
