"""Uniform numbers keyed by (seed, position, purpose) instead of drawn from a stream.

A token's random number then depends on where it stands and not on how it came about, so that plain and
speculative runs of one seed compare token by token. The mixer is SplitMix64 (Steele, Lea, Flood: Fast Splittable
Pseudorandom Number Generators, OOPSLA 2014), which the phone apps have too.
"""

from enum import IntEnum
from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


class Purpose(IntEnum):
    """What a random number is for; each has a sequence of its own."""

    CHOICE = 0
    ACCEPT = 1
    DRAFT = 2


def splitmix64(state: int) -> int:
    """One step of SplitMix64: state (64 bits) -> 64 random bits. State 1234567 gives 6457827717110365317."""
    mixed = (state + _GAMMA) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def uniform(seed: int, position: int, purpose: Purpose = Purpose.CHOICE) -> float:
    """A number in (0, 1), never 0 or 1; the same for the same arguments on every machine."""
    bits = splitmix64(splitmix64(splitmix64(seed & _MASK) ^ position) ^ purpose)
    return ((bits >> 12) + 0.5) * 2.0**-52  # 52 bits and a half are exact; with one bit more the last would round to 1
