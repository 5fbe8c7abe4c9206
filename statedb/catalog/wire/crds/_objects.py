"""Reading one object: its fields into a struct, its metadata. Knows no kind."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from .._errors import DECODE_ERRORS, WireError
from .._gojson import located, whole

S = TypeVar("S", bound=msgspec.Struct)
Pairs = tuple[tuple[str, str], ...]
Parts = Mapping[tuple[str, ...], type[msgspec.Struct]]


class Metadata(msgspec.Struct, gc=False):
    """What every object has; ``labels`` and ``annotations`` may be absent."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def read(value: object, kind: type[S]) -> S:
    """The fields of an object that a struct names. Raises WireError naming the field.

    The object is a plain value, or its JSON: that is decoded right into the struct, and where this fails (nulls and
    halves of characters, mostly) by the way of the plain value, which has the same result.
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
    """What `read` gives, and what is wrong with items of some of its lists, which are left out then.

    ``parts`` gives the type of the items of each such list by its path. Raises WireError where the rest cannot be read.
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
    """A copy of a value (Any: JSON) whose list at a path has those items only that can be read."""
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
    """An object that may be JSON as a plain value (Any: whatever it holds). Raises WireError."""
    if not isinstance(value, (bytes, msgspec.Raw)):
        return value
    try:
        return json.loads(bytes(value).decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except RecursionError:
        raise WireError("the object is nested too deep") from None
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from None


def named(metadata: Metadata) -> str:
    """The object's name. Raises WireError if it has none."""
    if not metadata.name:
        raise WireError("metadata.name: name is unset")
    return metadata.name


def namespace_of(text: str) -> str:
    """The namespace of an object of a namespaced kind. One without is in ``default``, as for ``kubectl create``.

    An API server always names it; a manifest may leave it out.
    """
    return text or "default"


def pairs(mapping: Mapping[str, str]) -> Pairs:
    """A mapping as rows hold it."""
    return tuple(sorted(mapping.items()))


def first_of(annotations: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The annotation of the first of several names that is there."""
    return next((annotations[name] for name in names if name in annotations), None)


def whole_texts(value: Any) -> Any:
    """The value (Any: JSON or YAML) with halves of characters, which JSON can spell, as U+FFFD: so Go reads them."""
    if isinstance(value, str):
        return value if value.isascii() else whole(value)
    if isinstance(value, dict):
        return {whole_texts(key): whole_texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole_texts(each) for each in value]
    return value


@cache
def _decoder(kind: type[msgspec.Struct]) -> Any:  # Any: a cache cannot say that it gives what it is asked for
    return msgspec.json.Decoder(kind, strict=False).decode


def _refuse_constant(name: str) -> Any:
    raise WireError(f"the value is not JSON: {name} is no number")


def _cleaned(value: Any) -> Any:
    """What ``whole_texts`` gives, without the fields that are null, which means they are absent.

    Written out for speed: most keys and most values are ASCII texts.
    """
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) and key.isascii() else whole_texts(key): each
            if isinstance(each, str) and each.isascii()
            else _cleaned(each)
            for key, each in value.items()
            if each is not None
        }
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    return whole_texts(value) if isinstance(value, str) else value
