"""Do scores and frames have the same lengths: what is forgiven, and what other lengths look like."""

from collections.abc import Mapping
from dataclasses import dataclass

from raypipe.errors import UserError

# Decoders differ by a frame, and methods that look back leave out the first ones; more means another copy of a video.
FEW_FRAMES = 5
# Share by which the ratios of lengths of another frame rate may differ.
RATIO_SLACK = 0.02
# Ratios nearer to 1 are no other frame rate.
RATE_SLACK = 0.1
NUM_SHOWN = 3


@dataclass(frozen=True)
class Lengths:
    """Of one video: its scores, its frames, and how many frames its scores are apart."""

    num_scores: int
    num_frames: int
    step: int = 1

    @property
    def do_fit(self) -> bool:
        """Whether they differ by a few frames at most; scores that are apart may end that much earlier."""
        return -FEW_FRAMES <= self.num_frames - self.num_scores <= FEW_FRAMES + self.step - 1


def require_fitting(lengths: Mapping[str, Lengths], scores: str) -> None:
    """Raise UserError, naming the file `scores`, where any video's lengths do not fit, and say what they look like."""
    bad = {name: own for name, own in lengths.items() if not own.do_fit}
    if not bad:
        return
    shown = [
        f"{name} has {own.num_scores:,} scores and {own.num_frames:,} frames"
        for name, own in list(bad.items())[:NUM_SHOWN]
    ]
    listed = ", ".join(shown) + (", ..." if len(bad) > NUM_SHOWN else "")
    raise UserError(
        f"{scores}: {len(bad):,} of {len(lengths):,} videos have another number of scores than of frames: "
        f"{listed}. {explain(list(bad.values()))}"
    )


def explain(lengths: list[Lengths]) -> str:
    """Return what lengths that do not fit look like, as a sentence with what to do."""
    num_scores, num_frames = sum(own.num_scores for own in lengths), sum(own.num_frames for own in lengths)
    factor = factor_of({str(number): own for number, own in enumerate(lengths)})
    if factor is not None:
        return f"It looks like one score for {factor} frames; --repeat {factor} repeats them"
    # Copies of a video differ by a little.
    if num_scores and not 1 - RATE_SLACK < num_frames / num_scores < 1 + RATE_SLACK:
        ratio = num_frames / num_scores
        if all(abs(own.num_frames - ratio * own.num_scores) <= RATIO_SLACK * own.num_frames + 1 for own in lengths):
            return (
                f"There are {ratio:.2f} frames for a score: they look like scores of videos at another frame rate; "
                "give a score for each frame"
            )
    return f"A difference of more than {FEW_FRAMES} frames means another copy of the video; give a score for each frame"


def factor_of(lengths: Mapping[str, Lengths]) -> int | None:
    """Return the number of frames that each score stands for, None where there is no such number above 1."""
    num_scores, num_frames = (
        sum(own.num_scores for own in lengths.values()),
        sum(own.num_frames for own in lengths.values()),
    )
    if not num_scores:
        return None
    near = round(num_frames / num_scores)
    fitting = {
        factor: sum(abs(own.num_scores * factor - own.num_frames) for own in lengths.values())
        for factor in range(max(2, near - 2), near + 3)
        if all(abs(own.num_scores * factor - own.num_frames) < factor + FEW_FRAMES for own in lengths.values())
    }
    # A whole number of snippets leaves 0 to one of them over: of the two neighbours, a round one is likelier.
    return min(fitting, key=lambda factor: (fitting[factor], factor % 2)) if near >= 2 and fitting else None


def snippets_of(num_scores: int, lengths: Mapping[str, int], factor: int) -> dict[str, int] | None:
    """Return how many of `num_scores` each video has where one stands for `factor` frames; None where none add up.

    The last of a video may stand for fewer frames, or frames that fill no whole one may have none.
    """
    for rest in (factor - 1, 0):
        counts = {name: (length + rest) // factor for name, length in lengths.items()}
        if sum(counts.values()) == num_scores:
            return counts
    return None


def factor_adding_up(num_scores: int, lengths: Mapping[str, int]) -> int | None:
    """Return the number of frames that each of `num_scores` of all videos stands for, None where it is no such."""
    near = sum(lengths.values()) // num_scores if num_scores else 0
    tried = sorted(range(max(2, near - 2), near + 3), key=lambda factor: (factor % 8, factor))
    return next((factor for factor in tried if snippets_of(num_scores, lengths, factor) is not None), None)
