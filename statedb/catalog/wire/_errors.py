"""What goes wrong between bytes and rows."""

import msgspec


class WireError(ValueError):
    """A key or value is not what its format says; the message names the field and what is wrong with it."""


DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that a decoder of msgspec raises for bytes that it cannot read: no JSON, other types, no UTF-8, nested too deep.

It is written here once: whoever decodes foreign bytes catches these, and nothing else.
"""
