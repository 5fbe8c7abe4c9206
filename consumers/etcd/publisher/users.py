"""The users and roles of a published etcd. A user is identified by the name in a certificate, and has one role.

Source: cilium/cilium pkg/kvstore/etcdinit/init.go, clustermesh-apiserver/clustermesh/users_mgmt.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from statedb.catalog.wire import keys

from .options import UsersOptions

_ROOT, _REMOTE, _LOCAL = "root", "remote", "local"
_FILE_BYTES_MAX = 1 << 20


class Access(msgspec.Struct, frozen=True):
    """The keys that each role may read, or with True the prefixes; and the role of each user."""

    roles: Mapping[str, frozenset[tuple[bytes, bool]]]
    users: Mapping[str, str]


class _User(msgspec.Struct, frozen=True):
    name: str
    role: Literal["remote", "local"] = "remote"


class _File(msgspec.Struct, frozen=True):
    users: tuple[_User, ...] = ()


class Users:
    """Reads the users file at each call of `access`. For one thread at a time."""

    def __init__(self, cluster: str, options: UsersOptions) -> None:
        """The file is not read yet."""
        self._cluster = cluster
        self._options = options
        self._good: dict[str, str] = {}
        self.problem = ""
        """The fault of the file; empty if it is good. While it is bad, its last good content is used."""

    def access(self) -> Access:
        """The users and roles that should exist now."""
        if self._options.users_file is not None:
            try:
                self._good = _read(Path(self._options.users_file))
                self.problem = ""
            except ValueError as error:
                self.problem = str(error)
        users = dict.fromkeys(self._options.remotes, _REMOTE) | self._good
        users |= {_ROOT: _ROOT, f"admin-{self._cluster}": _ROOT, f"local-{self._cluster}": _LOCAL}
        return Access(_roles(self._cluster), users)


def _roles(cluster: str) -> dict[str, frozenset[tuple[bytes, bool]]]:
    beat = (keys.HEARTBEAT.encode(), True)
    return {
        _REMOTE: frozenset(
            {
                beat,
                (f"{keys.STATE}/".encode(), True),
                (keys.join(keys.CLUSTER_CONFIG, cluster).encode(), False),
                (f"{keys.join(keys.SYNCED, cluster)}/".encode(), True),
            }
        ),
        _LOCAL: frozenset(
            {beat, *[(f"{prefix}/".encode(), True) for prefix in (keys.CACHE, keys.CLUSTER_CONFIG, keys.SYNCED)]}
        ),
    }


def _read(path: Path) -> dict[str, str]:
    """The users of the file. Raises ValueError, which names the file and the fault."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if len(data) > _FILE_BYTES_MAX:
            raise ValueError(f"more than {_FILE_BYTES_MAX} bytes")
        found = msgspec.convert(yaml.safe_load(data) or {}, _File)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).replace("\n", " ")
        raise ValueError(f"users-file {path}: {reason}") from None
    return {user.name: user.role for user in found.users}
