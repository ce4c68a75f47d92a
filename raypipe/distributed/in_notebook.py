"""Using Ray in a process that is not ours: a notebook's, or a script's."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_display_only() -> Iterator[None]:
    """Give back, after the block, what `cluster.connect` changes in how Ray Data and Ray Train show their work.

    In a notebook Ray says, when it is imported and started, that it could show more with ipywidgets; that is left out.
    """
    widgets = logging.getLogger("ray.widgets.util")
    widgets.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        from ray.data import DataContext

    context = DataContext.get_current()
    shown = {name: getattr(context, name) for name in ("enable_progress_bars", "print_on_execution_start")}
    loggers = [logging.getLogger(name) for name in ("ray.data", "ray.train")]
    levels = [logger.level for logger in loggers]
    try:
        yield
    finally:
        for name, value in shown.items():
            setattr(context, name, value)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
