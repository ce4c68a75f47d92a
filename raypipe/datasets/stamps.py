"""Stamps of files: what a listing tells by which a file that was written since is known, without reading it."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

# What file systems call the tag of a content, and the times of a file.
_TAGS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("mtime", "created", "LastModified", "last_modified", "updated", "modificationTime")


def stamp_of_file(status: os.stat_result) -> str:
    """Return the stamp of a local file. The time of its last change of any kind shows what `cp -p` and `mv` hide."""
    return f"{status.st_mtime_ns} {status.st_ctime_ns}"


def stamp_of_info(info: Mapping[str, Any]) -> str:
    """Return the stamp of a file as fsspec lists it; empty where the listing tells neither a tag nor a time."""
    tag = next((info[name] for name in _TAGS if info.get(name)), None)
    if tag is not None:
        return str(tag).strip('"')
    return " ".join(str(info[name]) for name in _TIMES if info.get(name))


def stamp_of_folder(files: Iterable[tuple[str, int, str]]) -> str:
    """Return the stamp of a folder from its files' names, sizes and stamps; empty where one of them has none."""
    digest = hashlib.sha256()
    for name, num_bytes, stamp in sorted(files):
        if not stamp:
            return ""
        digest.update(f"{name}\0{num_bytes}\0{stamp}\n".encode())
    return digest.hexdigest()[:32]
