"""No secret slips through what is shown of an address."""

from __future__ import annotations

import pytest

from cryptocast.errors import holds_secret, shown_url, without_secrets

HIDDEN = "(an address that is not shown)"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://somebody:hunter2@host:5000/a", "http://host:5000/a"),
        ("http://somebody:hun@ter2@host:5000", "http://host:5000"),
        ("http://somebody:hun ter2@host", "http://host"),
        ("http://somebody:hun/ter2@host", HIDDEN),
        ("http://somebody:hun?ter2@host", HIDDEN),
        ("http://somebody:hun#ter2@host", HIDDEN),
        ("http://somebody:hun\nter2@host", HIDDEN),
        ("http://somebody:hunter2", HIDDEN),
        ("http://host;password=hunter2/a", HIDDEN),
        ("http://host/a;password=hunter2", HIDDEN),
        ("http://host/a&token=hunter2", HIDDEN),
        ("http://host/a%3Ftoken%3Dhunter2", HIDDEN),
        ("http://host/somebody:hunter2%40b", HIDDEN),
        ("postgresql+x:///db?user=somebody&password=hunter2", "postgresql+x:///db"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dhunter2", "mssql+pyodbc:///"),
        ("https://host/v3?api_key=hunter2#access_token=hunter2", "https://host/v3"),
        ("somebody:hunter2@host/db", HIDDEN),
        ("postgresql:somebody:hunter2", HIDDEN),
        ("host/db?sslpassword=hunter2", HIDDEN),
    ],
)
def test_what_may_be_a_secret_is_not_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert holds_secret(url)
    text = without_secrets(f"cannot open '{url}' now")
    assert "ter2" not in text or ("@" not in url and "?" not in url and "://" not in url)


@pytest.mark.parametrize(
    "said",
    [
        "connection failed: host=h Password=hunter2",
        "{'token': 'hunter2'}",
        "PWD=hunter2;",
        "Authorization: Bearer hunter2",
    ],
)
def test_a_secret_that_a_foreign_text_gives_by_its_name_is_not_shown(said: str) -> None:
    assert without_secrets(said) == HIDDEN


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5000",
        "https://[::1]:5000/api",
        "sqlite:////home/a@b c/mlflow.db",
        "localhost:5000",
        "mlruns",
        "databricks",
    ],
)
def test_an_address_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url
    assert not holds_secret(url)
