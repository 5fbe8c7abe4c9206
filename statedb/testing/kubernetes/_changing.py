"""Patches and field ownership: pure functions of objects.

A field is the path of names to a value that is not an object. A list is one value, but in the metadata each element of
``finalizers`` and ``ownerReferences`` is a field of its own.
https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ._refusal import Refusal

Json = dict[str, Any]
Path = tuple[str, ...]
Owners = dict[Path, set[tuple[str, str]]]
"""The managers of each field, each with its kind of write: Apply or Update."""

_SERVERS = {
    ("metadata", name) for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation")
} | {("metadata", "managedFields"), ("metadata", "generateName"), ("apiVersion",), ("kind",)}
_BY_ELEMENT: dict[Path, str | None] = {("metadata", "finalizers"): None, ("metadata", "ownerReferences"): "uid"}


def merged(value: Any, patch: Any) -> Any:
    """A value after a merge patch (RFC 7386).

    >>> merged({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(value) if isinstance(value, dict) else {}
    for name, each in patch.items():
        if each is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), each)
    return result


def patched(value: Json, operations: list[Json]) -> Json:
    """An object after a JSON patch (RFC 6902). Raises Refusal if an operation fails.

    >>> patched({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "/a/0"}])
    {'a': [2]}
    """
    whole: Any = {"": copy.deepcopy(value)}
    for each in operations:
        try:
            _operate(whole, each)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Refusal(422, "Invalid", f"the server rejected our request: {each}: {error}") from None
    result: Json = whole[""]
    return result


def _operate(whole: Any, operation: Json) -> None:
    kind, path = operation["op"], operation["path"]
    if kind in ("copy", "move"):
        holder, name = _place(whole, operation["from"])
        taken = copy.deepcopy(holder[name])
        if kind == "move":
            del holder[name]
        _put(*_place(whole, path), taken)
        return
    holder, name = _place(whole, path)
    if kind == "test":
        if holder[name] != operation["value"]:
            raise ValueError("the test failed")
    elif kind == "remove":
        del holder[name]
    elif kind == "replace":
        del holder[name]  # replacing a missing value is an error
        _put(holder, name, operation["value"])
    elif kind == "add":
        _put(holder, name, operation["value"])
    else:
        raise ValueError(f"unknown operation {kind!r}")


def _place(whole: Any, path: str) -> tuple[Any, Any]:
    *above, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    holder = whole
    for name in above:
        holder = holder[int(name) if isinstance(holder, list) else name]
    if isinstance(holder, list):
        return holder, len(holder) if last == "-" else int(last)
    return holder, last


def _put(holder: Any, name: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder.insert(name, value)
    else:
        holder[name] = value


# --- fields and their managers ----------------------------------------------------------------------------------------


def fields_of(value: Json) -> dict[Path, Any]:
    """Every field of an object that can have an owner.

    >>> fields_of({"kind": "A", "data": {"x": "1"}, "metadata": {"name": "a", "finalizers": ["f"]}})
    {('data', 'x'): '1', ('metadata', 'finalizers', 'f'): 'f'}
    """
    found: dict[Path, Any] = {}
    _collect(value, (), found)
    return found


def _collect(value: Any, path: Path, found: dict[Path, Any]) -> None:
    if path in _SERVERS:
        return
    if path in _BY_ELEMENT and isinstance(value, list):
        key = _BY_ELEMENT[path]
        for each in value:
            found[(*path, each if key is None else each[key])] = each
    elif isinstance(value, dict) and (value or not path):
        for name, each in value.items():
            _collect(each, (*path, name), found)
    else:
        found[path] = value


def written(owners: Owners, before: Json, after: Json, manager: str) -> Owners:
    """The owners after an update. Changed fields belong to ``manager``, and removed fields to nobody."""
    old, new = fields_of(before), fields_of(after)
    kept = {path: set(who) for path, who in owners.items() if path in new}
    for path, value in new.items():
        if path not in old or old[path] != value:
            kept[path] = {(manager, "Update")}
    return kept


def applied(value: Json, owners: Owners, wanted: Json, manager: str, *, force: bool) -> tuple[Json, Owners]:
    """An object and its owners after a server-side apply.

    Raises Refusal if others own a field with another value.
    """
    me = (manager, "Apply")
    fields, there = fields_of(wanted), fields_of(value)
    others = {
        path: owners[path] - {me}
        for path, new in fields.items()
        if path in there and there[path] != new and owners.get(path, set()) - {me}
    }
    if others and not force:
        raise _apply_conflict(others)
    result = copy.deepcopy(value)
    after: Owners = {path: set(who) for path, who in owners.items()}
    for path in [path for path, who in owners.items() if me in who and path not in fields]:
        after[path].discard(me)
        if not after[path]:
            del after[path]
            _remove(result, path)
    for path, new in fields.items():
        _set(result, path, new)
        after[path] = (set() if path in others else after.get(path, set())) | {me}
    return result, after


def _apply_conflict(others: Mapping[Path, set[tuple[str, str]]]) -> Refusal:
    conflicts = [f'conflict with "{min(who)[0]}": .{".".join(path)}' for path, who in sorted(others.items())]
    return Refusal(409, "Conflict", f"Apply failed with {len(conflicts)} conflict(s): {'; '.join(conflicts)}")


def _set(value: Json, path: Path, new: Any) -> None:
    if path[:2] in _BY_ELEMENT:
        key = _BY_ELEMENT[path[:2]]
        elements = value.setdefault("metadata", {}).setdefault(path[1], [])
        same = [place for place, each in enumerate(elements) if (each if key is None else each[key]) == path[2]]
        if same:
            elements[same[0]] = new
        else:
            elements.append(new)
        return
    for name in path[:-1]:
        value = value.setdefault(name, {})
    if new != {} or not isinstance(value.get(path[-1]), dict):  # an empty object does not remove fields of others
        value[path[-1]] = copy.deepcopy(new)


def _remove(value: Json, path: Path) -> None:
    if path[:2] in _BY_ELEMENT:
        key = _BY_ELEMENT[path[:2]]
        metadata = value["metadata"]
        left = [each for each in metadata.get(path[1], []) if (each if key is None else each[key]) != path[2]]
        metadata[path[1]] = left
        if not left:
            del metadata[path[1]]
        return
    above: list[tuple[Json, str]] = []
    for name in path[:-1]:
        if not isinstance(value.get(name), dict):
            return
        above.append((value, name))
        value = value[name]
    value.pop(path[-1], None)
    for holder, name in reversed(above):
        if holder[name] or len(above) == 1:  # a top-level object stays, even if it is empty
            break
        del holder[name]
