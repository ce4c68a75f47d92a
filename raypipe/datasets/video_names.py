"""Names of videos, and how they are compared when disks, labels and score files spell them differently."""

import unicodedata
from collections.abc import Iterable

from raypipe.errors import UserError
from raypipe.run_folder.folder import fitting


def same_name(name: str) -> str:
    """Return a video's name (parts with "/" between) in the one form in which names are compared.

    Accents are composed, because systems write them in two ways. A part that is too long for the run folder's files is
    cut, and ends in a hash of the whole of it.
    """
    return "/".join(fitting(part) for part in unicodedata.normalize("NFC", name).split("/"))


def id_of(name: str) -> str:
    """Return the id of a video whose file is called `name`: that name, unless a part of it is too long."""
    return "/".join(part if fitting(part) == part else same_name(part) for part in name.split("/"))


def by_same_name(names: Iterable[str], where: str) -> dict[str, str]:
    """Return names by the form in which they are compared.

    Raises UserError, naming `where`, on two that are spellings of one name.
    """
    found: dict[str, str] = {}
    for name in names:
        first = found.setdefault(same_name(name), name)
        if first != name:
            raise UserError(f"{where}: {first!r} and {name!r} are two spellings of one name. Keep one.")
    return found
