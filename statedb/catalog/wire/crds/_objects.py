"""Decodes one object: its fields to a struct, and its metadata. Knows no kind."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from .._errors import DECODE_ERRORS, WireError
from .._gojson import located, replace_surrogates

S = TypeVar("S", bound=msgspec.Struct)
Pairs = tuple[tuple[str, str], ...]
Parts = Mapping[tuple[str, ...], type[msgspec.Struct]]


class Metadata(msgspec.Struct, gc=False):
    """The metadata of every object. ``labels`` and ``annotations`` may be absent."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def read(value: object, kind: type[S]) -> S:
    """The fields of an object that a struct declares. Raises WireError, which names the field.

    The object is a plain value or its JSON. JSON is decoded directly to the struct. If that fails, mostly because of
    nulls or surrogates, it is converted from its plain value, with the same result.
    """
    if isinstance(value, (bytes, msgspec.Raw)):
        try:
            decode: Callable[[bytes | msgspec.Raw], S] = _decoder(kind)
            return decode(value)
        except DECODE_ERRORS:
            value = plain(value)
    try:
        return msgspec.convert(_cleaned(value), kind, strict=False)
    except msgspec.ValidationError as error:
        raise WireError(located(error)) from None
    except RecursionError:
        raise WireError("the object is nested too deep") from None


def read_parts(value: object, kind: type[S], parts: Parts) -> tuple[S, list[str]]:
    """The result of `read`, and the faults of bad items of some of its lists, which are left out.

    ``parts`` maps the path of each such list to the type of its items. Raises WireError if the rest cannot be decoded.
    """
    try:
        return read(value, kind), []
    except WireError:
        pass
    faults: list[str] = []
    try:
        whole = _cleaned(plain(value))
        for path, item in parts.items():
            whole = _without_bad_items(whole, path, item, ".".join(path), faults)
    except RecursionError:
        raise WireError("the object is nested too deep") from None
    return read(whole, kind), faults


def _without_bad_items(
    value: Any, path: tuple[str, ...], item: type[msgspec.Struct], field: str, faults: list[str]
) -> Any:
    """A copy of a value (Any: JSON) without the items of the list at ``path`` that cannot be decoded."""
    if path:
        if not isinstance(value, dict) or path[0] not in value:
            return value
        return {**value, path[0]: _without_bad_items(value[path[0]], path[1:], item, field, faults)}
    if not isinstance(value, list):
        return value
    kept = []
    for place, each in enumerate(value):
        try:
            msgspec.convert(each, item, strict=False)
            kept.append(each)
        except msgspec.ValidationError as error:
            at, separator, what = located(error).rpartition(": ")
            faults.append(f"{field}[{place}]{'.' if separator else ''}{at}: {what}")
    return kept


def plain(value: Any) -> Any:
    """The plain value of an object that may be JSON (Any: JSON). Raises WireError."""
    if not isinstance(value, (bytes, msgspec.Raw)):
        return value
    try:
        return json.loads(bytes(value).decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except RecursionError:
        raise WireError("the object is nested too deep") from None
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from None


def name_of(metadata: Metadata) -> str:
    """The name of the object. Raises WireError if it has none."""
    if not metadata.name:
        raise WireError("metadata.name: name is unset")
    return metadata.name


def namespace_of(text: str) -> str:
    """The namespace of an object of a namespaced kind: ``default`` if it has none, as for ``kubectl create``.

    An API server always sets it. A manifest may leave it out.
    """
    return text or "default"


def pairs(mapping: Mapping[str, str]) -> Pairs:
    """A mapping as in rows: pairs sorted by name."""
    return tuple(sorted(mapping.items()))


def first_of(annotations: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first of several annotations that is present, or None."""
    return next((annotations[name] for name in names if name in annotations), None)


def replace_surrogates_in(value: Any) -> Any:
    """The value (Any: JSON or YAML) with each surrogate replaced by U+FFFD, as Go does."""
    if isinstance(value, str):
        return value if value.isascii() else replace_surrogates(value)
    if isinstance(value, dict):
        return {replace_surrogates_in(key): replace_surrogates_in(each) for key, each in value.items()}
    if isinstance(value, list):
        return [replace_surrogates_in(each) for each in value]
    return value


@cache
def _decoder(kind: type[msgspec.Struct]) -> Any:  # Any: the type of a cache cannot depend on its argument
    return msgspec.json.Decoder(kind, strict=False).decode


def _refuse_constant(name: str) -> Any:
    raise WireError(f"the value is not JSON: {name} is not a number")


def _cleaned(value: Any) -> Any:
    """The value of ``replace_surrogates_in`` without null fields, because null means absent.

    Inlined for speed: most keys and most values are ASCII text.
    """
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) and key.isascii() else replace_surrogates_in(key): each
            if isinstance(each, str) and each.isascii()
            else _cleaned(each)
            for key, each in value.items()
            if each is not None
        }
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    return replace_surrogates_in(value) if isinstance(value, str) else value
