"""JSON as Go's encoding/json reads and writes it. Knows no format: a struct defines the fields.

Go matches field names without regard to case, ignores unknown fields, leaves absent fields and nulls at their zero
value, and takes the last of two equal names. It escapes ``<``, ``>`` and ``&``, and writes mappings with sorted keys.

A value in the usual form is decoded directly to its struct, which rejects unknown fields, so that no field is missed.
If that fails because of unknown fields, such as those of a newer release, it is decoded without them, and their names
are ignored from then on. If that fails too, it is decoded by the rules above. All three give the same fields.
"""

import json
import re
from collections.abc import Callable, Set as AbstractSet
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from ._errors import DECODE_ERRORS, WireError

S = TypeVar("S", bound=msgspec.Struct)

_WHERE = re.compile(r"(?P<what>.*) - at `\$\.?(?P<where>.*)`", re.DOTALL)
_IGNORED_NAMES_MAX = 32
_UNNAMEABLE = frozenset('\\"')
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_ESCAPES = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
}


class Reader(Generic[S]):
    """Decodes one kind of struct. Fields that the writer always writes must be required, so that ``exactly`` is exact.

    ``exactly`` is the fast path, for hot loops. It raises one of DECODE_ERRORS, and ``leniently`` then decides. It is
    replaced when an unknown name is seen for the first time, so read the attribute for each call. It returns a ``kind``
    or a subclass.
    """

    def __init__(self, kind: type[S]) -> None:
        """``kind`` must forbid unknown fields, in nested structs too."""
        self.exactly: Callable[[bytes], S] = msgspec.json.Decoder(kind).decode
        self._decode_known = self.exactly
        self._kind = kind
        self._shape = inspect.type_info(kind)
        names = [field.encode_name for field in msgspec.structs.fields(kind)]
        self._fields: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._names = frozenset(names)
        self._folded = frozenset(map(_folded, names))
        self._ignored_names: frozenset[str] = frozenset()

    def __call__(self, value: bytes) -> S:
        """The decoded struct. Raises WireError, which names the field."""
        try:
            return self.exactly(value)
        except DECODE_ERRORS:
            return self.leniently(value)

    def leniently(self, value: bytes) -> S:
        """The decoded struct, by all of Go's rules. Raises WireError, which names the field."""
        try:
            return self._without_unknown(value)
        except DECODE_ERRORS:
            return self._by_all_rules(value)

    def _without_unknown(self, value: bytes) -> S:
        """The struct from its known fields only. Raises one of DECODE_ERRORS if that is not enough."""
        fields = self._fields(value)
        unknown = fields.keys() - self._names
        for name in unknown:
            del fields[name]
        self._ignore_names(unknown)
        return self._decode_known(msgspec.json.encode(fields))

    def _ignore_names(self, names: AbstractSet[str]) -> None:
        """Ignore these unknown names on the fast path from now on.

        Raises ValidationError if Go would match one of them with a known field.
        """
        for name in names - self._ignored_names:
            if _folded(name) in self._folded:
                raise msgspec.ValidationError(f"{name}: a known field in another spelling")
        ignored = self._ignored_names | {name for name in names if name.isprintable() and not _UNNAMEABLE & set(name)}
        if ignored == self._ignored_names or len(ignored) > _IGNORED_NAMES_MAX:
            return
        unread: Any = msgspec.Raw | msgspec.UnsetType  # Any: no type says what a union is
        fields = [
            (f"unread_{number}", unread, msgspec.field(default=msgspec.UNSET, name=name))
            for number, name in enumerate(sorted(ignored))
        ]
        bases = (self._kind,)
        wider: Any = msgspec.defstruct(self._kind.__name__, fields, bases=bases, kw_only=True, gc=False)
        self._ignored_names, self.exactly = ignored, msgspec.json.Decoder(wider).decode

    def _by_all_rules(self, value: bytes) -> S:
        try:
            plain = json.loads(
                value.decode("utf-8", "replace"), object_pairs_hook=tuple, parse_constant=_refuse_constant
            )
            if not isinstance(plain, tuple):
                raise WireError("the value is not a JSON object")
            return msgspec.convert(_shaped(plain, self._shape), self._kind)
        except msgspec.ValidationError as error:
            raise WireError(located(error)) from None
        except RecursionError:
            raise WireError("the value is nested too deeply") from None
        except WireError:
            raise
        except ValueError as error:
            raise WireError(f"the value is not JSON: {error}") from None


def located(error: msgspec.ValidationError) -> str:
    """The error of msgspec with the place first: ``spec.ports[0].port: expected int, got str``."""
    text = str(error)
    found = _WHERE.fullmatch(text)
    what, where = (found["what"], found["where"]) if found else (text, "")
    what = (what[:1].lower() + what[1:]).replace("`", "")
    return f"{where}: {what}" if where else what


def replace_surrogates(text: str) -> str:
    """The text with each surrogate replaced by U+FFFD, as Go does."""
    return _SURROGATE.sub("\ufffd", text)


def encode(struct: msgspec.Struct) -> bytes:
    """The bytes that Go writes. Mappings must be sorted. Raises WireError for text that UTF-8 cannot encode."""
    try:
        value = msgspec.json.encode(struct)
    except UnicodeEncodeError as error:
        raise WireError(f"the row has text that is not Unicode: {error}") from None
    return _ESCAPED.sub(_escape, value)


def _escape(found: re.Match[bytes]) -> bytes:
    return _ESCAPES[found[0]]


def _refuse_constant(name: str) -> Any:
    raise WireError(f"the value is not JSON: {name} is not a number")


def _folded(name: str) -> str:
    """A field name as Go compares it: ASCII letters in lower case, and the two other letters that fold to ASCII."""
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()


def _shaped(value: Any, shape: inspect.Type) -> Any:
    """A parsed value with the field names of its struct (Any: JSON). Objects come as tuples of pairs."""
    if isinstance(shape, inspect.UnionType):
        if value is None:
            return None
        shape = _member_for(value, shape)
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, tuple):
        return _shaped_object(value, shape)
    if isinstance(value, list):
        item = shape.item_type if isinstance(shape, (inspect.ListType, inspect.VarTupleType)) else inspect.AnyType()
        return [_zero(item) if each is None else _shaped(each, item) for each in value]
    return value


def _member_for(value: Any, union: inspect.UnionType) -> inspect.Type:
    """The member of a union that fits such a value."""
    wanted: tuple[type[inspect.Type], ...] = (inspect.StructType, inspect.DictType)
    if isinstance(value, list):
        wanted = (inspect.ListType, inspect.VarTupleType)
    elif not isinstance(value, tuple):
        return inspect.AnyType()
    return next((each for each in union.types if isinstance(each, wanted)), inspect.AnyType())


def _shaped_object(pairs: tuple[tuple[str, Any], ...], shape: inspect.Type) -> dict[str, Any]:
    if isinstance(shape, inspect.StructType):
        fields = {_folded(field.encode_name): field for field in shape.fields}
        known = {name: _zero(field.type) for name, field in fields.items() if field.required}
        for name, value in pairs:
            field = fields.get(_folded(name))
            if field is not None and value is not None:
                known[_folded(name)] = _shaped(value, field.type)
        return {fields[name].encode_name: value for name, value in known.items()}
    item = shape.value_type if isinstance(shape, inspect.DictType) else inspect.AnyType()
    return {replace_surrogates(name): _zero(item) if value is None else _shaped(value, item) for name, value in pairs}


def _zero(shape: inspect.Type) -> Any:
    """The zero value that Go leaves for an absent field."""
    if isinstance(shape, inspect.StrType):
        return ""
    if isinstance(shape, inspect.BoolType):
        return False
    if isinstance(shape, inspect.IntType):
        return 0
    return None
