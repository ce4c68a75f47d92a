"""How segments are dealt out to drivers that share one output folder: arithmetic only.

All segments, done or not, are put in order, longest first, and dealt out one by one, as cards are. So shards differ
by no more than the longest segment; the segments of a long video, being of one length, go to all shards; and what is
in a shard depends on the catalogue and on the cuts of its videos alone: not on the cluster, nor on what is done
already, so that a driver that is started again has the same share, whatever the others did meanwhile.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """The `number`-th, from 1, of `count` shares; the whole where nothing is said."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"there is no shard {self}: of {self.count}, the first is 1 and the last {self.count}")

    def __str__(self) -> str:
        """Return it as the user writes it."""
        return f"{self.number}/{self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to others."""
        return self.count == 1

    def take(self, ordered: Sequence[Item]) -> list[Item]:
        """Return what this shard has of all items, which are ordered by falling length."""
        return list(ordered[self.number - 1 :: self.count])

    def overlaps(self, other: "Shard") -> bool:
        """Whether both can have an item in common, as 1/2 and 3/4 do."""
        return (self.number - other.number) % math.gcd(self.count, other.count) == 0


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Return the shard that a text as "2/8" names. Raises ValueError where it is written otherwise."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if not match or int(match[2]) < 1:
        raise ValueError(f"{text!r} is no shard; write it as 2/8, the second of eight")
    return Shard(int(match[1]), int(match[2]))
