from __future__ import annotations

import pytest

from cryptocast.databases import server_fault


@pytest.mark.parametrize(
    ("text", "code", "retry"),
    [
        ("failed to resolve host 'db.example': [Errno -2] Name not known", "unreachable", True),
        ("FATAL:  sorry, too many clients already", "unreachable", True),
        ("server closed the connection unexpectedly", "unreachable", True),
        ("permission denied for schema public", "refused", False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "refused", False),
        ("No module named 'MySQLdb'", "driver", False),
        ('relation "experiments" already exists', "busy", True),
    ],
)
def test_what_a_driver_says_is_told_apart(text: str, code: str, retry: bool) -> None:
    fault = server_fault(text, "check X")
    assert fault is not None
    assert (fault.code, fault.retry) == (code, retry)
    assert fault.hint.endswith("check X") or code == "busy"


def test_what_is_nothing_of_a_server_is_left_to_others() -> None:
    assert server_fault("database is locked", "check X") is None
