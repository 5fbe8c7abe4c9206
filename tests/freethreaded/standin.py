"""A stand-in for what the engine's tests use of msgspec, where msgspec itself does not run.

msgspec refuses to be built without a GIL before Python 3.14. The store takes rows of any frozen type, so the tests can
have frozen dataclasses with the same fields. Conversions know what those tests dump: numbers, text, bytes, tuples, and
rows inside of rows. ``test_dump.py``, which tests the conversions of msgspec itself, is left out there.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import types
import typing
from typing import Any


class _StructType(type):
    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: bool) -> Any:
        made = super().__new__(cls, name, bases, body)
        kept = {option: options[option] for option in ("frozen", "order", "kw_only") if option in options}
        return dataclasses.dataclass(**kept)(made) if bases else made

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_: bool) -> None:
        super().__init__(name, bases, body)


def _to_builtins(value: Any, **_: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _to_builtins(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_to_builtins(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _convert(value: Any, kind: Any, **_: bool) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        kinds = typing.get_type_hints(kind)
        return kind(**{name: _convert(each, kinds[name]) for name, each in value.items()})
    if isinstance(kind, type) and issubclass(kind, tuple) and kind is not tuple:
        return kind(*[_convert(each, of) for each, of in zip(value, typing.get_type_hints(kind).values())])
    if isinstance(value, list):
        return tuple([_convert(each, None) for each in value])
    return base64.b64decode(value) if kind is bytes else value


def module() -> Any:
    """``msgspec`` as far as it goes."""
    made: Any = types.ModuleType("msgspec")
    made.Struct = _StructType("Struct", (), {"__module__": "msgspec"})
    made.ValidationError = type("ValidationError", (ValueError,), {})
    made.DecodeError = type("DecodeError", (ValueError,), {})
    made.to_builtins, made.convert = _to_builtins, _convert
    made.structs = types.SimpleNamespace(replace=dataclasses.replace)
    made.json = types.SimpleNamespace(
        Encoder=lambda: types.SimpleNamespace(encode=lambda value: json.dumps(value).encode()),
        Decoder=lambda: types.SimpleNamespace(decode=json.loads),
    )
    return made
