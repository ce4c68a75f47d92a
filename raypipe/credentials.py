"""Passwords and tokens in addresses: hidden in whatever is written or shown, refused where they are not needed."""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

# What stands before the @ of an address; a slash, a quote or a space in a password must be written as %2F, %27, %20.
_USER = re.compile(r"//[^/@\s'\"]+@")
# A value whose name, in a query or a connection string, says that it is secret.
_SECRET = re.compile(
    r"([?&;\s][\w.\-]*(?:token|secret|password|passwd|pwd|signature|sig|credential|credentials|api_?key"
    r"|access_?key|accesskeyid|access_key_id|auth)=)[^&;\s'\"#]+",
    re.IGNORECASE,
)
_USER_AND_PASSWORD = re.compile(r"//[^/@:\s]*:[^/@\s]+@")


def without_credentials(text: str) -> str:
    """Return the text with the user, password and secret query values of every address in it hidden."""
    return _SECRET.sub(r"\1***", _USER.sub("//***@", text))


def hide_credentials(document: Any) -> Any:
    """Return nested dicts and lists whose texts are without credentials."""
    if isinstance(document, str):
        return without_credentials(document)
    if isinstance(document, Mapping):
        return {key: hide_credentials(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [hide_credentials(value) for value in document]
    return document


def holds_credentials(uri: str) -> bool:
    """Tell whether an address holds a password or a secret query value; a user's name alone is none."""
    return bool(_USER_AND_PASSWORD.search(uri) or _SECRET.search(uri))


class HidingFormatter(logging.Formatter):
    """Formats records as the format says, tracebacks included, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return without_credentials(super().format(record))


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of what nobody caught, without credentials; for `sys.excepthook`."""
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_credentials("".join(lines)))


def print_traceback_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Print, without credentials, the traceback by which a thread ended; for `threading.excepthook`."""
    print_traceback(ended.exc_type, ended.exc_value or ended.exc_type(), ended.exc_traceback)
