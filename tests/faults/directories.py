"""The site whose truth stands in a directory of files."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from ingest import ManifestsOptions, Source
from ingest.manifests import open as open_manifests

from ..ingest.kube_rig import cep
from ..ingest.kvstore_rig import CLUSTER
from .site import Site


class ManifestsSite(Site):
    """One file for each endpoint. Its server is the place where the directory is mounted."""

    backend: ClassVar[str] = "manifests"

    def quick(self) -> dict[str, Any]:
        return {"rescan_s": 0.02, "settle_s": 0.02}

    def build(self, replicas: int, by_name: bool) -> None:
        self._mounted = self.directory / "manifests"
        self._aside = self.directory / "aside"
        self._mounted.mkdir()

    def open(self) -> Source:
        return open_manifests(self.db, CLUSTER, 1, ManifestsOptions(directory=str(self._mounted), **self.options))

    def store(self, changes: dict[str, int | None]) -> None:
        there = self._mounted if self._mounted.exists() else self._aside
        for ip, identity in changes.items():
            path = there / f"{ip}.json"
            if identity is None:
                path.unlink(missing_ok=True)
            else:
                temporary = there / f".{ip}"
                temporary.write_text(json.dumps(cep(ip, identity)))
                temporary.replace(path)

    def kill(self) -> None:
        self._mounted.rename(self._aside)

    def start(self) -> None:
        self._aside.rename(self._mounted)

    def half_write(self) -> bool:
        # a file whose writer has come as far as the middle; the next change lets it end
        ip = min(self.truth)
        text = json.dumps(cep(ip, self.truth[ip]))
        (self._mounted / f"{ip}.json").write_text(text[: len(text) // 2])
        return True
