"""Keys that configs of earlier versions had, or lacked. Stored configs are read as they were meant."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

# Each had a single value, so that nothing is lost; with what a user is told who still writes it.
REMOVED_KEYS = {
    "score.knn.kind": "it had one value only: remove it",
    "score.gmm.kind": "it had one value only: remove it",
}

# Keys that are new since, with what earlier versions did.
ADDED_KEYS = {"motion.unit": "source_frame"}


def stored_config(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored config, given as nested dicts, as this version writes it."""
    stored = without_removed_keys(document)
    for key, value in ADDED_KEYS.items():
        part, name = key.split(".")
        own = stored.setdefault(part, {})
        if isinstance(own, dict):
            own.setdefault(name, value)
    return stored


def without_removed_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored config, given as nested dicts, without the keys that are gone since it was stored."""
    kept = deepcopy(dict(document))
    for key in REMOVED_KEYS:
        *parents, last = key.split(".")
        below: Any = kept
        for parent in parents:
            below = below.get(parent) if isinstance(below, dict) else None
        if isinstance(below, dict):
            below.pop(last, None)
    return kept
