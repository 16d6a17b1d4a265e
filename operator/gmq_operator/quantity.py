"""Kubernetes quantities: `10Gi`, `1.5G`, `1e9`, or a plain number."""

import re
from decimal import Decimal

LONGEST = 32
PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?\Z"
"""Quantities that are not negative, of up to LONGEST characters."""

_SPLIT = re.compile(r"\+?([0-9.]+)(.*)")
_FACTORS = {
    "": Decimal(1),
    **{suffix: Decimal(10) ** power for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{suffix}i": Decimal(1 << shift) for suffix, shift in zip("KMGTPE", range(10, 70, 10), strict=True)},
}


def parse_quantity(value: int | str) -> Decimal:
    """The number that a quantity means.

    Raises:
        ValueError: it is none, or is negative.
    """
    text = str(value)
    split = _SPLIT.fullmatch(text)
    if split is None or len(text) > LONGEST or not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = split.groups()
    return Decimal(number) * (_FACTORS[suffix] if suffix in _FACTORS else Decimal(f"1{suffix}"))
