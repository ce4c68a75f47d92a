"""Where a file lies: its file system and its path there. What a name holds is never taken for a part of an address."""

from typing import Any

import fsspec

# File systems that lie over another one, whose addresses are chained by "::".
_OVER_OTHERS = frozenset(
    ["simplecache", "filecache", "blockcache", "cached", "zip", "tar", "libarchive", "dir", "reference", "asyncwrapper"]
)


def locate(place: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URI, and the path there.

    "::" chains addresses only behind a file system that lies over another one ("simplecache::s3://..."); elsewhere it
    is a part of a name, as are "#", "?", "%20" and "[1]". Raises ValueError for an unknown protocol and ImportError for
    one whose client is not installed.
    """
    first = place.partition("::")[0].partition("://")[0]
    if "::" in place and first in _OVER_OTHERS:
        filesystem, path = fsspec.core.url_to_fs(place)
        return filesystem, str(path)
    protocol, separator, _ = place.partition("://")
    kind = fsspec.get_filesystem_class(protocol if separator else "file")
    return kind(**kind._get_kwargs_from_urls(place)), str(kind._strip_protocol(place))
