"""The parts of the protocol buffers wire format that are used here: varints and length-delimited fields. Knows no
message.
"""

from collections.abc import Iterator

from ._errors import WireError

_VARINT = 0
_FIXED64 = 1
_LENGTH = 2
_FIXED32 = 5
_VARINT_BYTES_MAX = 10


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and value of each field, in order. Fields of fixed width are skipped. Raises WireError.

    >>> list(fields(bytes.fromhex("0a0161100a")))
    [(1, b'a'), (2, 10)]
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError("the value is not protobuf: a field has the number 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _LENGTH:
            length, at = _varint(data, at)
            if at + length > end:
                raise WireError("the value is not protobuf: it ends within a field")
            yield number, data[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
            if at > end:
                raise WireError("the value is not protobuf: it ends within a field")
        else:
            raise WireError(f"the value is not protobuf: a field has the wire type {kind}")


def varint(number: int, value: int) -> bytes:
    """A field with a non-negative number or a bool."""
    return _encoded(number << 3 | _VARINT) + _encoded(value)


def length(number: int, value: bytes | str) -> bytes:
    """A field with text, bytes or a message."""
    data = value.encode() if isinstance(value, str) else value
    return _encoded(number << 3 | _LENGTH) + _encoded(len(data)) + data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for count in range(_VARINT_BYTES_MAX):
        if at + count >= len(data):
            break
        byte = data[at + count]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + count + 1
        shift += 7
    raise WireError("the value is not protobuf: a number does not end")


_ONE_BYTE = [bytes((value,)) for value in range(0x80)]


def _encoded(value: int) -> bytes:
    if value <= 0x7F:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
