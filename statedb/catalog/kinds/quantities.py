"""Quantities as Kubernetes writes them. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i|)"
)
_SUFFIXES = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("num kMGTPE", -3) if suffix != " "},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def quantity(text: str) -> Decimal:
    """The exact value of a quantity.

    >>> quantity("100m"), quantity("64Mi"), quantity("1e3")
    (Decimal('0.100'), Decimal('67108864'), Decimal('1E+3'))

    Raises ValueError if the text is not a quantity.
    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write it like 2, 100m or 64Mi")
    number, suffix = match["number"], match["suffix"]
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix]
