"""The rule for files that run code of their author when they are read: only with a pin, or by the user's word."""

import hashlib
from pathlib import Path

from raypipe.errors import UserError


def read_trusted(path: Path, *, sha256: str | None, trust_pickle: bool) -> tuple[bytes, str]:
    """Return the content of a `.pt` file and its sha256, which are what was checked: the file is read once.

    Raises UserError where it cannot be read, is not the pinned one, or is neither pinned nor trusted.
    """
    if path.suffix != ".pt":
        raise UserError(f"{path}: is neither a .pt of Ultralytics nor a folder that `raypipe weights convert` wrote")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; weights are never downloaded") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is None and not trust_pickle:
        raise UserError(
            f"{path}: a .pt is a pickle, which can run code when it is read. If you trust it, convert it once by "
            f"`raypipe weights convert --yolo {path} --sha256 {found} --out DIR`, or set sha256 or trust_pickle"
        )
    if sha256 is not None and sha256.lower() != found:
        raise UserError(f"{path}: its sha256 is {found}, not the pinned {sha256.lower()}")
    return content, found
