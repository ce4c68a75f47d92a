"""Labels for the state machine: does a caption hold of an image? Parquet files, one row per pair (Eq. 6).

`raypipe pretrain labels` writes them, in parts, below `<output>/labels`; anybody may bring a file with the columns
`image_id`, `caption` and `answer`. Other columns are ignored when labels are read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raypipe.errors import UserError
from raypipe.run_folder.tables import METADATA_KEY, serialise_table
from raypipe.schema import conform

LABELS_FOLDER = "labels"

LABEL = pa.schema(
    [
        # The id of COCO's annotations as text; `caption` is what is asked about, of this image or of another.
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        # Null where the answer says neither yes nor no.
        pa.field("answer", pa.bool_()),
        pa.field("raw_answer", pa.string(), nullable=False),
    ]
)
NEEDED = ("image_id", "caption", "answer")


@dataclass(frozen=True)
class VqaLabels:
    """Pairs that have an answer, each once, in the order of the files; and what was left out of them.

    `answers` is bool (N,), true for yes. `num_unread` pairs have no answer, `num_contradicting` were answered both
    ways, `num_repeated` rows say again what another says, `num_missing_parts` are not written yet.
    """

    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    answers: NDArray[np.bool_]
    num_unread: int = 0
    num_contradicting: int = 0
    num_repeated: int = 0
    num_missing_parts: int = 0

    def report(self) -> str:
        """Return one line for the user: what there is, and what was left out and why."""
        counts = (
            (self.num_unread, "pairs without an answer"),
            (self.num_contradicting, "pairs answered both ways"),
            (self.num_repeated, "repeated rows"),
            (self.num_missing_parts, "parts not labelled yet"),
        )
        reasons = ", ".join(f"{count:,} {what}" for count, what in counts if count)
        line = f"{len(self.answers):,} labels, {self.answers.mean():.1%} yes"
        return f"{line}; left out: {reasons}" if reasons else line


def serialise_labels(table: pa.Table, config_hash: str, part: int, num_parts: int) -> bytes:
    """Return one part of LABEL rows as Parquet, its metadata naming the config that it is of."""
    metadata = {"config_hash": config_hash, "part": part, "num_parts": num_parts}
    return serialise_table(conform(table, LABEL, f"labels part {part}"), metadata)


def read_labels(place: str) -> VqaLabels:
    """Read a Parquet file, a folder of them, or the output of `raypipe pretrain labels`; a path or an fsspec URI.

    White space in captions is made single, as `read_captions` does. A pair whose rows contradict is left out. Raises
    UserError where the place cannot be read, where a column is missing or of another type, where files are of
    different configs, and where no label is left.
    """
    said: dict[tuple[str, str], set[bool]] = {}
    num_rows = num_empty = 0
    unread: set[tuple[str, str]] = set()
    hashes, parts, num_parts = set(), 0, 0
    for path, table, written in _tables(place):
        if written:
            hashes.add(written["config_hash"])
            parts, num_parts = parts + 1, max(num_parts, written["num_parts"])
        for image_id, caption, answer in zip(*_columns(table, path), strict=True):
            pair = (image_id, " ".join(caption.split()))
            if answer is None:
                num_empty += 1
                unread.add(pair)
            else:
                num_rows += 1
                said.setdefault(pair, set()).add(answer)
    if len(hashes) > 1:
        raise UserError(f"{place}: its files are of {len(hashes)} different labellings; keep those of one")
    certain = {pair: answers for pair, answers in said.items() if len(answers) == 1}
    if not certain:
        raise UserError(f"{place}: holds no label that can be used ({num_rows + num_empty} rows, {num_empty} unread)")
    num_unread = len(unread - set(said))
    num_contradicting = len(said) - len(certain)
    return VqaLabels(
        image_ids=tuple(image_id for image_id, _ in certain),
        captions=tuple(caption for _, caption in certain),
        answers=np.array([True in answers for answers in certain.values()]),
        num_unread=num_unread,
        num_contradicting=num_contradicting,
        num_repeated=num_rows + num_empty - len(said) - num_unread,
        num_missing_parts=max(0, num_parts - parts),
    )


def _tables(place: str) -> Iterator[tuple[str, pa.Table, dict[str, Any] | None]]:
    """Yield every file's path, table, and what its writer noted in it, None where it is of another writer."""
    try:
        fs, base = fsspec.core.url_to_fs(place)
        base = base.rstrip("/")
        paths = [base]
        if fs.isdir(base):
            below = f"{base}/{LABELS_FOLDER}"
            folder = below if fs.isdir(below) else base
            paths = sorted(path for path in fs.find(folder, maxdepth=1) if path.endswith(".parquet"))
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{place}: cannot be read ({' '.join(str(error).split())})") from error
    if not paths:
        raise UserError(f"{place}: holds no .parquet file; expected labels as raypipe pretrain labels writes them")
    for path in paths:
        try:
            with fs.open(path, "rb") as file:
                table = pq.read_table(file)
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file or folder") from error
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: is no Parquet file that can be read ({' '.join(str(error).split())})") from error
        written = (table.schema.metadata or {}).get(METADATA_KEY)
        yield path, table, json.loads(written) if written else None


def _columns(table: pa.Table, path: str) -> tuple[list[str], list[str], list[bool | None]]:
    """Return the values of the columns that are needed; image ids may be whole numbers, too."""
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; labels are rows of {', '.join(NEEDED)}")
    image_ids, captions, answers = (table[name] for name in NEEDED)
    if pa.types.is_integer(image_ids.type):
        image_ids = image_ids.cast(pa.string())
    for name, column, wanted in (("image_id", image_ids, "text"), ("caption", captions, "text")):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{path}: {name} is {column.type}, expected {wanted}")
        if column.null_count:
            raise UserError(f"{path}: {name} is null in {column.null_count} rows")
    if not (pa.types.is_boolean(answers.type) or pa.types.is_null(answers.type)):
        raise UserError(f"{path}: answer is {answers.type}, expected true or false (null where unknown)")
    return image_ids.to_pylist(), captions.to_pylist(), answers.to_pylist()
