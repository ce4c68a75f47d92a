import logging
import sys

import pytest

from raypipe.config.file import absolute
from raypipe.credentials import (
    HidingFormatter,
    hide_credentials,
    holds_credentials,
    print_traceback,
    without_credentials,
)
from raypipe.errors import UserError


@pytest.mark.parametrize(
    ("text", "shown", "is_refused"),
    [
        ("plain words, a=b, 1@2", None, False),
        ("s3://bucket/run", None, False),
        ("file:///a b/c@d", None, False),
        ("postgresql://ray:hunter2@db:5432/x", "postgresql://***@db:5432/x", True),
        ("sftp://ray@host/videos", "sftp://***@host/videos", False),
        ("http://:hunter2@host", "http://***@host", True),
        ("https://host/a?token=hunter2&page=2", "https://host/a?token=***&page=2", True),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=A%2FB&X-Amz-Date=1&X-Amz-Signature=hunter2",
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=***",
            True,
        ),
        ("https://h/k?AWSAccessKeyId=AKIA1&Signature=hunter2", "https://h/k?AWSAccessKeyId=***&Signature=***", True),
        ("https://a.blob.core.windows.net/c?sv=1&sig=hunter2", "https://a.blob.core.windows.net/c?sv=1&sig=***", True),
        ("mysql://h/d?user=a&password=hunter2 failed", "mysql://h/d?user=a&password=*** failed", True),
        ("two: a://u:p@h b://v:q@i", "two: a://***@h b://***@i", True),
        ("GET /x?API_KEY=hunter2#top", "GET /x?API_KEY=***#top", True),
    ],
)
def test_what_is_hidden_and_what_is_refused(text, shown, is_refused):
    assert without_credentials(text) == (text if shown is None else shown)
    assert holds_credentials(text) is is_refused
    assert without_credentials(without_credentials(text)) == without_credentials(text)


def test_documents_are_gone_through():
    document = {"a": ["x://u:p@h", 1, None], "b": {"c": ("y?token=t",)}}
    assert hide_credentials(document) == {"a": ["x://***@h", 1, None], "b": {"c": ["y?token=***"]}}
    assert document["a"][0] == "x://u:p@h"


def test_paths_with_a_password_are_refused_without_showing_it():
    with pytest.raises(UserError, match=r"ftp://\*\*\*@host/videos: holds a password or a token") as caught:
        absolute("ftp://ray:hunter2@host/videos")
    assert "hunter2" not in str(caught.value)


def test_logs_and_tracebacks_hide_them(capsys):
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "no answer from %s", ("x://u:hunter2@h",), None)
    assert HidingFormatter("%(name)s: %(message)s").format(record) == "a: no answer from x://***@h"
    try:
        raise ValueError("no answer from x://u:hunter2@h?token=hunter2")
    except ValueError:
        print_traceback(*sys.exc_info())
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "ValueError: no answer from x://***@h?token=***" in printed
    assert "hunter2" not in printed.splitlines()[-1]
