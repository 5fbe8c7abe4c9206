"""The site whose truth stands in a directory of files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
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
        self._generations = 0

    def open(self) -> Source:
        return open_manifests(self.db, CLUSTER, 1, ManifestsOptions(directory=str(self._mounted), **self.options))

    def store(self, changes: dict[str, int | None]) -> None:
        there = self._mounted if self._mounted.exists() else self._aside
        if self._generations:
            self._swap(there)
            return
        for ip, identity in changes.items():
            path = there / f"{ip}.json"
            if identity is None:
                path.unlink(missing_ok=True)
            else:
                temporary = there / f".{ip}"
                temporary.write_text(json.dumps(cep(ip, identity)))
                temporary.replace(path)

    def use_generations(self) -> None:
        """From now on all files change at once, as a kubelet does it: a folder of each generation, and one link."""
        if not self._generations:
            for path in self._mounted.iterdir():
                path.unlink()
            self._swap(self._mounted)

    def _swap(self, there: Path) -> None:
        """The order is the kubelet's: new files, the one link, links to files that are new, links to those gone."""
        old, self._generations = there / f"..{self._generations}", self._generations + 1
        new = there / f"..{self._generations}"
        new.mkdir()
        for ip, identity in self.truth.items():
            (new / f"{ip}.json").write_text(json.dumps(cep(ip, identity)))
        link = there / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(there / "..data")
        wanted = {f"{ip}.json" for ip in self.truth}
        for name in wanted - {path.name for path in there.iterdir()}:
            (there / name).symlink_to(f"..data/{name}")
        for path in there.iterdir():
            if not path.name.startswith("..") and path.name not in wanted:
                path.unlink()
        if old.exists():
            shutil.rmtree(old)

    def unmount(self) -> None:
        """An empty mount point is left."""
        self._mounted.rename(self._aside)
        self._mounted.mkdir()

    def mount(self) -> None:
        """The content is there again."""
        self._mounted.rmdir()
        self._aside.rename(self._mounted)

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
