"""A writer on a real etcd, and what others do to that etcd: fill it, take rights, give them back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumers.etcd import EtcdWriter, Rules, WriterOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd, find_binary
from ingest.etcd.ranges import range_end

PREFIX = "my/"
RULES = Rules(prefixes=(PREFIX,))
QUICK = {"retry_min_s": 0.02, "retry_max_s": 0.1}


def stands(etcd: LocalEtcd) -> dict[str, bytes]:
    with etcd.client() as client:
        return {kv.key.decode(): kv.value for page in client.list(PREFIX.encode()) for kv in page.kvs}


def revision(etcd: LocalEtcd) -> int:
    with etcd.client() as client:
        return client.get(b"x").header.revision


class Writing:
    """A writer of some keys, which can lose its connection and be cut off for good; a context manager."""

    def __init__(self, etcd: LocalEtcd, keys: dict[str, bytes], rules: Rules = RULES, **values: Any) -> None:
        self.etcd = etcd
        self.clients: list[Client] = []
        self.is_cut_off = False
        self.writer = EtcdWriter(self.connect, rules, WriterOptions(**(QUICK | values)))
        for key, value in keys.items():
            self.writer.put(key, value)

    def connect(self) -> Client:
        if self.is_cut_off:
            raise OSError("cut off")
        self.clients.append(self.etcd.client())
        return self.clients[-1]

    def cut(self) -> None:
        for client in self.clients[-1:]:
            client.close()

    def __enter__(self) -> EtcdWriter:
        self.writer.start()
        return self.writer

    def __exit__(self, *_: object) -> None:
        self.writer.stop()
        assert self.writer.join(10)
        assert self.writer.crash is None


def numbered(count: int) -> dict[str, bytes]:
    return {f"{PREFIX}{number}": b"%d" % number for number in range(count)}


def etcdctl(etcd: LocalEtcd, *arguments: str) -> None:
    tool = Path(find_binary()).with_name("etcdctl")
    tool.chmod(0o755)
    subprocess.run([str(tool), f"--endpoints={etcd.endpoint}", *arguments], check=True, capture_output=True, timeout=30)


_TYPES = {"read": 0, "readwrite": 2}


class Guarded:
    """An etcd with a user who may read, and write below some prefixes only. Its rights can be taken and given back."""

    def __init__(self, etcd: LocalEtcd) -> None:
        self.etcd = etcd
        self._prefixes: set[str] = set()
        for name in ("root", "writer"):
            etcdctl(etcd, "user", "add", f"{name}:{name}")
        etcdctl(etcd, "role", "add", "writer")
        etcdctl(etcd, "user", "grant-role", "writer", "writer")
        etcdctl(etcd, "user", "grant-role", "root", "root")
        etcdctl(etcd, "auth", "enable")
        self.root = etcd.client(login=("root", "root"))

    def reset(self, prefixes: tuple[str, ...]) -> None:
        """Delete all keys. From now on the user may write below these prefixes only."""
        for prefix in self._prefixes:
            self.grant("read", prefix)
        self.grant("read", PREFIX)
        for prefix in prefixes:
            self.grant("readwrite", prefix)
        self.root.delete_prefix(b"")

    def grant(self, right: str, prefix: str) -> None:
        """Give a right below a prefix, in place of the one that was given before."""
        self._prefixes.add(prefix)
        permission = {"permType": _TYPES[right], "key": prefix.encode(), "range_end": range_end(prefix.encode())}
        self.root._call("RoleGrantPermission", name="writer", perm=permission)

    def client(self) -> Client:
        return self.etcd.client(login=("writer", "writer"))

    def names(self) -> set[str]:
        return {kv.key.decode() for page in self.root.list(PREFIX.encode()) for kv in page.kvs}


def fill(etcd: LocalEtcd) -> None:
    """Until the quota is reached."""
    with etcd.client() as client:
        number = 0
        while not client.commit([(b"other/%d" % number, b"x" * 500_000, 0)]).refusal:
            number += 1


def empty(etcd: LocalEtcd) -> None:
    """Give the space back and disarm the alarm."""
    with etcd.client() as client:
        client.delete_prefix(b"other/")
        client.compact(client.get(b"x").header.revision)
    etcdctl(etcd, "defrag")
    etcdctl(etcd, "alarm", "disarm")


class Interposed:
    """A connection on which something happens before each transaction."""

    def __init__(self, client: Client, before: Callable[[set[bytes], set[bytes]], None]) -> None:
        """``before`` is given the keys that are put and the keys that are deleted."""
        self._client = client
        self._before = before

    def commit(self, puts: list[tuple[bytes, bytes, int]], deletes: list[bytes], *arguments: Any) -> Any:
        self._before({key for key, _, _ in puts}, set(deletes))
        return self._client.commit(puts, deletes, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
