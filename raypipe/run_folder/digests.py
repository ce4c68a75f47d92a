"""Which features a run folder holds, told by their content and not by when or where they were written."""

import json

from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_records_at

# The digests that were read, with the stamps of their files: a store answers a listing far sooner than it gives the
# footers of hundreds of thousands of files. It may be removed at any time.
DIGESTS_NAME = "digests.json"


def feature_digests(folder: RunFolder) -> dict[str, str]:
    """Return the digest of every committed segment by its path below `features/`.

    Only footers of files that are new, or written again since, are read.
    """
    stamps = {path: stamp for path, stamp in folder.stamps("features").items() if path.endswith(".parquet")}
    known = _known(folder)
    digests = {path: known[path][1] for path, stamp in stamps.items() if path in known and known[path][0] == stamp}
    new = sorted(stamps.keys() - digests.keys())
    if new:
        records = read_records_at(folder, [folder.path("features", *path.split("/")) for path in new])
        digests |= {path: record.digest for path, record in zip(new, records, strict=True)}
        kept = {path: [stamps[path], digests[path]] for path in sorted(digests)}
        folder.commit(folder.path(DIGESTS_NAME), json.dumps(kept, ensure_ascii=False).encode())
    return digests


def _known(folder: RunFolder) -> dict[str, tuple[str, str]]:
    """Return stamp and digest of each file as far as they were read before; nothing where that cannot be used."""
    try:
        content = folder.filesystem.cat_file(folder.path(DIGESTS_NAME))
        return {path: (str(stamp), str(digest)) for path, (stamp, digest) in json.loads(content).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}
