"""The errors that raypipe raises on purpose.

Three kinds, told apart by who can act on them: a user's mistake ends the command with one line and exit
code 2; a data error costs one segment, which becomes a dead letter; anything else is a bug or a broken
machine and fails the run with its traceback.
"""

# What a command returns to the shell after a UserError, and where it is done but for dead letters.
EXIT_USER_ERROR = 2
EXIT_DEAD_LETTERS = 3


class UserError(Exception):
    """A mistake in what the user asked for: a config, a path, a command line."""


class DataError(Exception):
    """One video, segment or file is unusable; the run goes on without it."""


class CorruptVideoError(DataError):
    """A video that cannot be opened, or frames that cannot be decoded."""


class AnnotationError(DataError):
    """A file that comes with a video (boxes, labels) and does not say what it should."""


class GpuMemoryError(DataError):
    """A segment for which the memory of the GPU does not suffice, not even in batches of one."""


class SchemaError(Exception):
    """A row or table that does not conform to `raypipe.schema`: a fault in the program, not in the data."""
