"""Keys that configs of earlier versions had. Stored configs are read without them."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

# Each had a single value, so that nothing is lost; with what a user is told who still writes it.
REMOVED_KEYS = {
    "score.knn.kind": "it had one value only: remove it",
    "score.gmm.kind": "it had one value only: remove it",
}


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
