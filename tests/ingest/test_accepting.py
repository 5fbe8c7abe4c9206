"""Accepting deletes in the very moment in which the source looks whether anything was accepted."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from ingest import KubernetesOptions, ManifestsOptions
from ingest.keyspace.acceptance import Acceptance
from ingest.kubernetes.session import KubernetesSource
from ingest.manifests.source import ManifestsSource
from statedb import Database
from statedb.catalog import TABLES


class Late:
    """The attribute with the request. When it is read first, another thread accepts right after that."""

    def __init__(self) -> None:
        self.accept: Callable[[Any], Any] = methodcaller("accept")
        self.value: Any = None
        self.reads = 0

    def __get__(self, source: Any, _: type | None = None) -> Any:
        value, self.reads = self.value, self.reads + 1
        if self.reads == 1:
            self.accept(source)
        return value

    def __set__(self, _: Any, value: Any) -> None:
        self.value = value


def kubernetes(_: Path, late: Late) -> None:
    kind = type("Source", (KubernetesSource,), {"_accepted": late})
    kind(Database(*TABLES), "c", 1, KubernetesOptions(server="http://127.0.0.1:1"))._settle()


def etcd(_: Path, late: Late) -> None:
    late.accept = methodcaller("press")
    type("Kind", (Acceptance,), {"_pressed": late})("etcd/c").take()


def manifests(directory: Path, late: Late) -> None:
    kind = type("Source", (ManifestsSource,), {"_accepted": late})
    source = kind(Database(*TABLES), "c", 1, ManifestsOptions(directory=str(directory)))
    source._verdict(source._directory.scan(), {})


@pytest.mark.parametrize("look", [kubernetes, etcd, manifests])
def test_what_is_accepted_in_the_moment_of_the_look_is_not_lost(tmp_path: Path, look: Any):
    late = Late()
    look(tmp_path, late)
    assert late.reads == 1
    assert late.value not in (None, False), "it is left for the next look"
