"""Checking a copy of a data set before a long run: is it all there, can it be read, do labels and frames agree."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from raypipe.datasets.frame_faults import FrameFaults, digest_frames, find_faults
from raypipe.datasets.listing import Listing, Video
from raypipe.datasets.ped2 import MASKS_END
from raypipe.datasets.readers import READERS
from raypipe.datasets.specs import SPECS, DatasetName, DatasetSpec
from raypipe.datasets.tree import open_folder, open_tree
from raypipe.errors import DataError, UserError
from raypipe.monitoring.progress import progress
from raypipe.video.container import local_path
from raypipe.video.folder import probe_folder
from raypipe.video.location import locate
from raypipe.video.probe import probe_video

NUM_LISTED = 10
# Findings of this kind are shown beside the counts.
COUNT = "count"
HASH_BYTES = 1 << 20
ONLY_VIDEOS = "splits and labels are not checked until the layout is right; everything that looks like a video is"
NOTHING_ELSE = "nothing else can be checked until this is put right"


@dataclass(frozen=True)
class CopyFault:
    """Something that is wrong with a copy: its kind, a sentence, and the videos or files it is about."""

    kind: str
    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """How many of something there are, and how many there should be; None where it is not known."""

    name: str
    here: int | None
    official: int | None

    @property
    def difference(self) -> str:
        """How far from the official number it is, in words; empty where it is not, or not known."""
        if self.here is None or self.official is None or self.here == self.official:
            return ""
        return f"{abs(self.here - self.official):,} {'too many' if self.here > self.official else 'too few'}"


@dataclass
class CopyReport:
    """What was found out about a copy. `notes` come from the reader, and are no fault on their own."""

    dataset: DatasetName
    root: str
    counts: list[Count] = field(default_factory=list)
    findings: list[CopyFault] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    label_source: str = ""
    is_probed: bool = True

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self) | {"is_complete": not self.findings, "official": asdict(SPECS[self.dataset])}


@dataclass(frozen=True)
class _Probed:
    num_frames: int | None
    problem: str = ""
    damage: str = ""
    frames: FrameFaults = field(default_factory=FrameFaults)


def check_dataset(name: DatasetName, root: str, *, is_probed: bool = True) -> CopyReport:
    """Compare a copy below `root` with what is known of the data set. With `is_probed`, every video is opened.

    Raises UserError if the root is not a folder. Anything else that is wrong is a finding.
    """
    official = SPECS[name]
    report = CopyReport(name, root, is_probed=is_probed)
    open_folder(root)
    try:
        listing = READERS[name](root)
    except UserError as error:
        report.findings.append(CopyFault("layout", str(error)))
        _check_without_layout(report)
        return report
    report.notes, report.label_source = listing.notes, listing.label_source
    probed = _probe_all(listing.videos, SPECS[name].frames_fps) if is_probed else {}
    report.counts = list(_counts(listing, probed, official))
    report.findings += _findings_of_files(listing, probed, official)
    report.findings += _findings_of_counts(report.counts)
    report.findings += _findings_of_labels(listing, probed)
    report.findings += _findings_of_content(listing.videos)
    return report


def _check_without_layout(report: CopyReport) -> None:
    """Count, open and compare whatever looks like a video, where the reader cannot tell its split and labels."""
    try:
        tree = open_tree(report.root)
    except UserError:
        # The reader's own complaint, which is told already.
        report.notes = (NOTHING_ELSE,)
        return
    videos = [
        tree.video(found, path, split="")
        for path, found in sorted(tree.videos.items())
        if not (found.is_frames and path.lower().endswith(MASKS_END))
    ]
    if not videos:
        report.notes = (NOTHING_ELSE,)
        return
    report.notes = (ONLY_VIDEOS,)
    probed = _probe_all(videos, SPECS[report.dataset].frames_fps) if report.is_probed else {}
    known = [result.num_frames for result in probed.values() if result.num_frames is not None]
    report.counts = [Count("videos", len(videos), None), Count("frames", sum(known) if probed else None, None)]
    report.findings += _findings_of_files(Listing(tuple(videos), None), probed, SPECS[report.dataset])
    report.findings += _findings_of_content(videos)


def _probe_all(videos: Sequence[Video], frames_fps: float) -> dict[str, _Probed]:
    """Return what opening each video says, by id. Demuxing waits for the disk, so threads do."""
    probed: dict[str, _Probed] = {}
    pool = ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1)))
    try:
        results = pool.map(partial(_probe, frames_fps=frames_fps), videos)
        with progress("probe", len(videos), "videos") as advance:
            for video, result in zip(videos, results, strict=True):
                probed[video.video_id] = result
                advance(1, dead=int(bool(result.problem)))
    finally:
        # An interrupted check does not open what is left.
        pool.shutdown(cancel_futures=True)
    return probed


def _probe(video: Video, frames_fps: float) -> _Probed:
    faults = FrameFaults()
    try:
        if video.is_frames:
            faults = find_faults(video.uri)
        index = probe_folder(video.uri, frames_fps) if video.is_frames else probe_video(video.uri)
    except DataError as error:
        return _Probed(None, problem=str(error), frames=faults)
    return _Probed(index.num_frames, damage=index.damage or "", frames=faults)


def _counts(listing: Listing, probed: dict[str, _Probed], official: DatasetSpec) -> Iterator[Count]:
    splits = Counter(video.split for video in listing.videos)
    for split in dict.fromkeys([*official.videos, *sorted(splits)]):
        yield Count(f"{split} videos", splits[split], official.videos.get(split))
    for split, expected in (("train", official.train_frames), ("test", official.test_frames)):
        frames = [probed[video.video_id].num_frames for video in listing.videos if video.split == split and probed]
        known = [count for count in frames if count is not None]
        yield Count(f"{split} frames", sum(known) if probed else None, expected)
    if listing.labels is not None:
        abnormal = sum(stop - start for intervals in listing.labels.values() for start, stop in intervals)
        yield Count("abnormal frames", abnormal, official.abnormal_frames)


def _findings_of_counts(counts: Sequence[Count]) -> Iterator[CopyFault]:
    for count in counts:
        if count.difference:
            yield CopyFault(COUNT, f"{count.name}: {count.here:,}, {count.difference}")


def _findings_of_files(listing: Listing, probed: dict[str, _Probed], official: DatasetSpec) -> Iterator[CopyFault]:
    if listing.missing:
        yield CopyFault("missing", "lists or labels name them", listing.missing)
    extra = [path for path in listing.extra if not set(official.known_extra) & set(path.split("/"))]
    if extra:
        yield CopyFault("extra", "in no split, left out of any run", tuple(extra))
    bad = {name: result.problem for name, result in probed.items() if result.problem}
    if bad:
        yield CopyFault("unreadable", "cannot be opened", tuple(f"{name}: {problem}" for name, problem in bad.items()))
    damaged = {name: result.damage for name, result in probed.items() if result.damage}
    if damaged:
        yield CopyFault("damaged", "can be used in part", tuple(f"{name}: {what}" for name, what in damaged.items()))
    broken = tuple(f"{name}/{fault}" for name, result in probed.items() for fault in result.frames.broken)
    if broken:
        yield CopyFault("damaged frames", "cannot be used", broken)
    gaps = tuple(f"{name}: {gap}" for name, result in probed.items() for gap in result.frames.gaps)
    if gaps:
        yield CopyFault("gap", "numbers of frames that are missing", gaps)


def _findings_of_labels(listing: Listing, probed: dict[str, _Probed]) -> Iterator[CopyFault]:
    if listing.labels is None:
        return
    lengths, past = [], []
    for video in listing.videos:
        name = video.video_id
        num_frames = probed[name].num_frames if name in probed else None
        if num_frames is None:
            continue
        num_labels = listing.label_frames.get(name)
        if num_labels is not None and num_labels != num_frames:
            lengths.append(f"{name}: {num_labels:,} labels, {num_frames:,} frames")
        elif num_labels is None:
            end = max((stop for _, stop in listing.labels.get(name, [])), default=0)
            if end > num_frames:
                past.append(f"{name}: to frame {end - 1:,} of {num_frames:,}")
    if lengths:
        yield CopyFault("label length", "differs from the frames; cut, or padded with normal", tuple(lengths))
    if past:
        yield CopyFault("label past the end", "the rest of an interval is cut", tuple(past))


def _findings_of_content(videos: Sequence[Video]) -> Iterator[CopyFault]:
    """Yield a finding for videos of the same content. Only videos of the same size are hashed."""
    by_size: dict[tuple[bool, int], list[Video]] = defaultdict(list)
    for video in videos:
        if video.num_bytes:
            by_size[video.is_frames, video.num_bytes].append(video)
    same: dict[str, list[str]] = defaultdict(list)
    for group in by_size.values():
        for video in group if len(group) > 1 else ():
            # What cannot be read is a finding of its own.
            with suppress(OSError, DataError):
                digest = digest_frames(video.uri) if video.is_frames else _digest(video.uri)
                same[digest].append(f"{video.video_id} ({video.split})" if video.split else video.video_id)
    twins = tuple(" = ".join(names) for names in same.values() if len(names) > 1)
    if twins:
        yield CopyFault("duplicate", "videos of the same content", twins)


def _digest(uri: str) -> str:
    digest = hashlib.sha256()
    filesystem, path = locate(str(local_path(uri) or uri))
    with filesystem.open(path, "rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()


def report_lines(report: CopyReport) -> list[str]:
    """Return a report as the user reads it: counts beside the official ones, what is wrong, and where to get it."""
    official = SPECS[report.dataset]
    lines = [f"{official.title} in {report.root}", ""]
    if report.counts:
        rows = [("", "here", "official", "")] + [
            (count.name, _number(count.here), _number(count.official), count.difference) for count in report.counts
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for name, here, expected, difference in rows:
            line = f"{name:<{widths[0]}}  {here:>{widths[1]}}  {expected:>{widths[2]}}  {difference}"
            lines.append(line.rstrip())
        lines += [official.remark] if official.remark else []
        lines += [f"labels: {report.label_source}"] if report.label_source else []
        lines.append("")
    lines += [f"note: {note}" for note in report.notes if note != NOTHING_ELSE]
    if not report.is_probed:
        lines.append("note: no video was opened (--no-probe): frames, damage and lengths of labels are not checked")
    for finding in report.findings:
        if finding.kind == COUNT:
            continue
        lines.append(f"{finding.kind}: {finding.text}" + (f": {len(finding.names):,}" if finding.names else ""))
        lines += [f"    {name}" for name in finding.names[:NUM_LISTED]]
        if len(finding.names) > NUM_LISTED:
            lines.append(f"    and {len(finding.names) - NUM_LISTED:,} more (--json lists all)")
    if NOTHING_ELSE in report.notes:
        lines.append(NOTHING_ELSE)
    if not report.findings:
        lines.append("no fault was found" if report.is_probed else "no fault was found in what was checked")
    elif official.page:
        lines += [""] if lines[-1] else []
        lines += [f"It consists of {official.parts}.", f"Download it at {official.page}", f"({official.paper})"]
    return lines


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
