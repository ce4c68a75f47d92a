"""Download the official weight files, or say how to get them by hand.

Needs no torch. Broken downloads go on where they stopped; a file takes its name only when it is complete.
"""

import hashlib
import http
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raypipe.errors import UserError

_LAVIS = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2"
_BERT_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class OfficialFile:
    """A file that its makers publish; size and sha256 where they are known, which for LAVIS's own they are not."""

    name: str
    url: str
    what: str
    size: int | None = None
    sha256: str | None = None


_VOCAB = OfficialFile(
    "vocab.txt",
    f"https://huggingface.co/bert-base-uncased/resolve/{_BERT_REVISION}/vocab.txt",
    "word pieces of bert-base-uncased",
    231508,
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
OFFICIAL = {
    "vitg": (
        OfficialFile("blip2_pretrained.pth", f"{_LAVIS}/blip2_pretrained.pth", "Q-Former and its head, for ViT-g"),
        OfficialFile("eva_vit_g.pth", f"{_LAVIS}/eva_vit_g.pth", "EVA ViT-g, fp16"),
        _VOCAB,
    ),
    "vitl": (
        OfficialFile(
            "blip2_pretrained_vitL.pth", f"{_LAVIS}/blip2_pretrained_vitL.pth", "Q-Former and head, for ViT-L"
        ),
        OfficialFile("clip_vit_L.pth", f"{_LAVIS}/clip_vit_L.pth", "CLIP ViT-L"),
        _VOCAB,
    ),
}


def fetch(files: tuple[OfficialFile, ...], folder: Path, say: Callable[[str], None]) -> bool:
    """Download `files` into `folder`, telling `say` about each; return whether all of them are there now.

    A file that is there already is kept if it has the known size and sha256. Where the network does not allow
    the download, the manual steps are told instead. Raises UserError for a file of another size or hash than
    known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = folder / file.name
        if not path.exists():
            try:
                _download(file.url, path)
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                say(f"{file.name}: the download failed ({error})")
                for line in manual_steps(files, folder):
                    say(line)
                return False
        say(f"{file.name}: {path.stat().st_size} bytes, sha256 {_check(file, path)}")
    return True


def manual_steps(files: tuple[OfficialFile, ...], folder: Path) -> list[str]:
    """Return what to do by hand where nothing can be downloaded from here."""
    qformer, vit, vocab = files
    return [
        "By hand, from a machine with a network:",
        *(f"  {file.url}  ({file.what})" for file in files),
        f"put the files into {folder}, then",
        f"  raypipe weights convert --qformer {folder / qformer.name} --vit {folder / vit.name} "
        f"--vocab {folder / vocab.name} --out {folder / 'converted'}",
    ]


def _check(file: OfficialFile, path: Path) -> str:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    size = path.stat().st_size
    if (file.size not in (None, size)) or (file.sha256 not in (None, digest)):
        raise UserError(
            f"{path}: has {size} bytes and sha256 {digest}, expected {file.size} and {file.sha256}; delete it and "
            "fetch again"
        )
    known = "as published" if file.sha256 else "nothing published to compare it with"
    return f"{digest} ({known})"


def _download(url: str, path: Path) -> None:
    """Download to `path`, going on with what an earlier attempt left beside it."""
    partial, tag_path = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.partial.etag")
    done = partial.stat().st_size if partial.exists() and tag_path.exists() else 0
    request = urllib.request.Request(url)  # noqa: S310 - https addresses of the table above
    if done:
        # If-Range: the rest of the same file, or all of it where it has changed since.
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", tag_path.read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        if not done or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Nothing follows what is there, and whether that is whole nobody can say: start again.
        partial.unlink()
        return _download(url, path)
    with response:
        going_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        length = response.headers.get("Content-Length")
        tag_path.unlink(missing_ok=True)
        if tag := response.headers.get("ETag"):
            tag_path.write_text(tag, encoding="utf-8")
        with partial.open("ab" if going_on else "wb") as file:
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
    expected = None if length is None else int(length) + (done if going_on else 0)
    if expected not in (None, partial.stat().st_size):
        raise ConnectionError(f"broke off at {partial.stat().st_size} of {expected} bytes; run it again to go on")
    partial.replace(path)
    tag_path.unlink(missing_ok=True)
    return None
