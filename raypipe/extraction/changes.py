"""What changed in the data since the last start of an extraction, in words and as it is kept in the run folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NUM_SHOWN = 3


@dataclass(frozen=True)
class Changes:
    """The videos, by id, that are new, have another content or boxes, another name, another split, or are gone.

    `returned` are those that were gone before, and are back with the same content.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    other_split: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def __str__(self) -> str:
        pairs = [f"{old} -> {new}" for old, new in self.renamed]
        shown = ", ".join(pairs[:NUM_SHOWN]) + (", ..." if len(pairs) > NUM_SHOWN else "")
        kinds = [
            (len(self.new), ("is new", "are new", "new")),
            (len(self.changed), ("changed",) * 3),
            (len(self.renamed), (f"renamed ({shown})",) * 3),
            (len(self.other_split), ("is in another split", "are in another split", "in another split")),
            (len(self.returned), ("is back", "are back", "back")),
            (len(self.removed), ("removed",) * 3),
        ]
        told: list[str] = []
        for count, (of_one, of_many, later) in kinds:
            if count and told:
                told.append(f"{count:,} {later}")
            elif count:
                told.append(f"{count:,} {f'video {of_one}' if count == 1 else f'videos {of_many}'}")
        return ", ".join(told)

    def to_record(self) -> dict[str, Any]:
        """Return the changes as JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Changes":
        """Return the changes that `to_record` described."""
        fields = {name: tuple(record.get(name, ())) for name in cls.__dataclass_fields__}
        fields["renamed"] = tuple((old, new) for old, new in fields["renamed"])
        return cls(**fields)
