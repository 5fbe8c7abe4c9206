"""Text that is not UTF-8, as Go reads it. Pure."""

from __future__ import annotations


def repaired(data: bytes) -> bytes | None:
    r"""The same bytes with U+FFFD in place of what is not UTF-8; None if all of them are UTF-8.

    For what a decoder refused. What it raises for such bytes depends on the version of msgspec: UnicodeDecodeError
    before 0.23, and DecodeError since.

    >>> repaired(b"web\xe9")
    b'web\xef\xbf\xbd'
    >>> repaired(b"web")
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return None
