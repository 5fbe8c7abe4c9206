"""What goes wrong between bytes and rows."""


class WireError(ValueError):
    """A key or value is not what its format says; the message names the field and what is wrong with it."""
