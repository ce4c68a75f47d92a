"""A folder of files, local or on an object store, and how a file is committed to it in one step."""

import errno
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec

from raypipe.errors import UserError
from raypipe.text import one_line
from raypipe.video.location import locate

# What trying again does not change: no right to write, files where folders should be, and paths that are too long.
FORBIDDEN = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)


@dataclass(frozen=True)
class Store:
    """A folder of files; `root` is a local path or an fsspec URI. Cheap to send to another process.

    A commit replaces a whole file in one step.
    """

    root: str

    @cached_property
    def _located(self) -> tuple[Any, str]:
        try:
            fs, path = locate(self.root)
        except (ValueError, ImportError) as error:
            raise UserError(f"{self.root}: {error}") from error
        return fs, path.rstrip("/")

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem that holds the folder."""
        return self._located[0]

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a filesystem that this machine mounts."""
        return "file" in (self.filesystem.protocol if isinstance(self.filesystem.protocol, tuple) else ())

    def path(self, *parts: str) -> str:
        """Return a path below the folder, in the form that `filesystem` takes."""
        return "/".join((self._located[1], *parts))

    def name(self, *parts: str) -> str:
        """Return a path below the folder as the user would write it, URI and all."""
        return "/".join((self.root.rstrip("/"), *parts))

    def exists(self, *parts: str) -> bool:
        """Whether something lies at a path below the folder."""
        return bool(self.filesystem.exists(self.path(*parts)))

    def commit(self, path: str, content: bytes) -> None:
        """Put `content` at `path` in one step: a reader, or a restart after a crash, sees all of it or nothing.

        Local: temporary file, fsync, rename. Object store: one PUT. Raises UserError where a local disk is full, and
        where its folder cannot be written to.
        """
        if not self.is_local:
            self.filesystem.pipe_file(path, content)
            return
        try:
            self._commit_locally(Path(path), content)
        except OSError as error:
            if error.errno in FORBIDDEN:
                raise UserError(f"{path} cannot be written ({error.strerror})") from error
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{self.root}: no space is left on its disk ({error.strerror}). What is committed stays: make room and "
                "start again"
            ) from error

    def _commit_locally(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(self.path("tmp"))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def commit_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Commit a JSON document below the folder."""
        content = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self.commit(self.path(*name.split("/")), content.encode())

    def commit_files(self, source: Path, below: str, *, last: str) -> None:
        """Commit the files of a local folder below this one; the one called `last` says that the others are whole.

        It is taken away first, so that a start in between never takes new files for those that it told of.
        """
        if self.exists(below, last):
            self.filesystem.rm_file(self.path(below, last))
        for path in sorted(source.iterdir(), key=lambda path: (path.name == last, path.name)):
            self.commit(self.path(below, path.name), path.read_bytes())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON document below the folder, or None where there is none.

        Raises UserError where the file does not hold JSON, and where the store does not answer.
        """
        try:
            content = self.filesystem.cat_file(self.path(*name.split("/")))
        except FileNotFoundError:
            return None
        except store_errors() as error:
            raise UserError(f"{self.name(name)} cannot be read ({one_line(error)})") from error
        try:
            document: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise UserError(f"{self.name(name)} is damaged: {error}. Use another output.") from error
        return document

    def stamps(self, kind: str) -> dict[str, str]:
        """Return a stamp of every file below `kind` by its path there; a file that is written again has another."""
        base = self.path(kind)
        return {
            path[len(base) + 1 :]: f"{info['size']} {info.get('ETag') or info.get('mtime') or info.get('created')}"
            for path, info in self.filesystem.find(base, detail=True).items()
        }

    def read_each(self, paths: Sequence[str]) -> list[bytes]:
        """Return the contents of files, of an object store many at once; what another driver removed is left out.

        Raises UserError where the store does not answer.
        """
        # Ranges, because the paths of other calls are patterns: a video may be called "[1]".
        contents = self.filesystem.cat_ranges(list(paths), None, None, on_error="return") if paths else []
        for path, content in zip(paths, contents, strict=True):
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                if not isinstance(content, store_errors()):
                    raise content
                raise UserError(f"{path} cannot be read ({one_line(content)})") from content
        return [content for content in contents if isinstance(content, bytes)]

    def remove(self, path: str) -> None:
        """Remove a file, which another driver may have removed already."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder and all that is in it. Raises FileNotFoundError where there is none."""
        if self.is_local or not fsspec.core.has_magic(path):
            self.filesystem.rm(path, recursive=True)
            return
        # To `rm` of a store such a name is a pattern.
        for file in self.filesystem.find(path):
            self.remove(file)

    def require_space(self, num_bytes: int) -> None:
        """Raise UserError where the folder cannot be written to, or a local one's disk has less left."""
        if not self.is_local:
            probe = self.path("tmp", uuid.uuid4().hex)
            try:
                self.filesystem.pipe_file(probe, b"")
                self.filesystem.rm_file(probe)
            except store_errors() as error:
                raise UserError(f"output: {self.root} cannot be written to ({one_line(error)})") from error
        else:
            folder = Path(self.path())
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"output: {folder} cannot be made ({error.strerror})") from error
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise UserError(f"output: {folder} cannot be written to ({error.strerror})") from error
            free = shutil.disk_usage(folder).free
            if free < num_bytes:
                raise UserError(f"{folder}: {free / 2**20:.0f} MiB free on its disk, {num_bytes / 2**20:.0f} needed")


def store_errors() -> tuple[type[Exception], ...]:
    """Return what a filesystem raises: OSErrors and, where it is an object store's, its clients' own."""
    clients = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    own = (getattr(sys.modules[module], name) for module, name in clients if module in sys.modules)
    return (OSError, *own)


def write_file(path: Path, content: bytes) -> None:
    """Write a local file, whole or not at all. Raises UserError where the place cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def write_json(document: Mapping[str, Any], path: Path | None) -> None:
    """Write `document` to a local file, whole or not at all; None writes nothing.

    Raises UserError where the place cannot be written.
    """
    if path is not None:
        write_file(path, (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())
