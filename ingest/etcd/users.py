"""Users and roles of an etcd that identifies its users by the common names in their certificates.

Source: etcd-io/etcd api/etcdserverpb/rpc.proto (service Auth), server/auth/store.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from .ranges import range_end

Right: TypeAlias = tuple[bytes, bool]
"""What may be read: a key, or everything under a prefix where the second is True."""

_READ = 0
_ROOT = "root"
"""The role that may do everything; etcd makes it by itself."""


def ensure(call: Callable[..., Any], roles: Mapping[str, frozenset[Right]], users: Mapping[str, str]) -> None:
    """Create these roles, and these users with one role each, and enable authentication.

    ``call(method, **fields)`` is one request of the service Auth (Any: protobuf messages). Users who have one of the
    roles and are not named are deleted. Other users and roles stay as they are. A repeated call changes nothing.
    Raises EtcdError.
    """
    there = set(call("RoleList").roles)
    for role, rights in roles.items():
        if role not in there:
            call("RoleAdd", name=role)
        _grant(call, role, rights)
    known = {name: set(call("UserGet", name=name).roles) for name in call("UserList").users}
    for name, role in users.items():
        if name not in known:
            call("UserAdd", name=name, options={"no_password": True})
        if role not in known.get(name, ()):
            call("UserGrantRole", user=name, role=role)
        for other in known.get(name, set()) & (roles.keys() - {role}):
            call("UserRevokeRole", name=name, role=other)
    for name, held in known.items():
        if name not in users and held and held <= roles.keys():
            call("UserDelete", name=name)
    if _ROOT in users:
        call("AuthEnable")


def _grant(call: Callable[..., Any], role: str, rights: frozenset[Right]) -> None:
    wanted = {(_READ, key, range_end(key) if is_prefix else b"") for key, is_prefix in rights}
    held = {(right.permType, right.key, right.range_end) for right in call("RoleGet", role=role).perm}
    for _, key, end in held - wanted:
        call("RoleRevokePermission", role=role, key=key, range_end=end)
    for kind, key, end in wanted - held:
        call("RoleGrantPermission", name=role, perm={"permType": kind, "key": key, "range_end": end})
