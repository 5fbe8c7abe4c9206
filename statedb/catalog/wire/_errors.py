"""The errors of decoding and encoding."""

import msgspec


class WireError(ValueError):
    """A key or value does not have its format. The message names the field and what is wrong with it."""


DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Everything that a msgspec decoder raises for bad bytes: no JSON, wrong types, no UTF-8, nested too deep.

Defined once, here. Code that decodes foreign bytes catches these and nothing else.
"""
