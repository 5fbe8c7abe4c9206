"""The validity of the certificates that an agent presents and trusts, from their files.

Their number is bounded: the first 32 remote clusters by name have series of their own, and all others share the series
of the cluster ``others``, which has the certificate that expires first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from ..pem import Validity, validity_in
from ..readiness import Readiness
from .families import Families
from .sources import OTHERS, REMOTE_CLUSTERS_MAX

_LABELS = ("used_by", "file")
_DECLARED = (
    (
        "gauge",
        "certificate_not_after_timestamp_seconds",
        "When a certificate expires (Unix time); for a chain, the first that expires.",
        _LABELS,
    ),
    ("gauge", "certificate_not_before_timestamp_seconds", "When that certificate became valid (Unix time).", _LABELS),
)


@runtime_checkable
class _Certified(Protocol):
    """A source that presents or trusts certificates."""

    @property
    def certificate_files(self) -> Mapping[str, str]:
        """The name of an option -> the path of a PEM file."""
        ...


class CertificateCollector(Collector):
    """Cost: one stat per file. A file that has changed is read."""

    def __init__(self, readiness: Readiness, files: Mapping[tuple[str, str], str]) -> None:
        """``files``: the user of a file and the option that names it -> its path. ``readiness`` has the sources."""
        self._readiness = readiness
        self._files = files

    def collect(self) -> Iterator[Metric]:
        """All families. A file that cannot be read, or has no certificate, has no series."""
        families, found = Families(*_DECLARED), dict[tuple[str, str], Validity]()
        for labels, path in self._paths():
            validity = validity_in(path)
            if validity is not None:
                found[labels] = min(validity, found.get(labels, validity))
        for labels, validity in found.items():
            families.add("certificate_not_after_timestamp_seconds", labels, validity.not_after)
            families.add("certificate_not_before_timestamp_seconds", labels, validity.not_before)
        yield from families

    def _paths(self) -> Iterator[tuple[tuple[str, str], str]]:
        yield from self._files.items()
        remote = sorted(self._readiness.remote_sources(), key=lambda source: source.cluster)
        for place, source in enumerate((*self._readiness.sources, *remote)):
            is_named = place < len(self._readiness.sources) + REMOTE_CLUSTERS_MAX
            if isinstance(source, _Certified):
                for option, path in source.certificate_files.items():
                    yield (f"{source.backend}/{source.cluster if is_named else OTHERS}", option), path
