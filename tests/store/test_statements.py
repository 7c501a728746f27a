"""SQL is parsed once and means at each time what the tables are then."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from cryptocast.store import statements
from cryptocast.store.statements import parsed


@pytest.fixture(autouse=True)
def _nothing_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_parsed", {})


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def test_a_text_is_parsed_once_for_all_connections(connection: duckdb.DuckDBPyConnection) -> None:
    statement = parsed(connection, "SELECT ? + 1")
    assert isinstance(statement, duckdb.Statement)
    with duckdb.connect() as other:
        assert parsed(other, "SELECT ? + 1") is statement
        assert other.execute(statement, [1]).fetchall() == [(2,)]
    assert connection.execute(statement, [2]).fetchall() == [(3,)]


def test_a_statement_reads_the_tables_of_its_time(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert connection.execute(parsed(connection, "FROM t")).fetchall() == [(1,)]
    connection.execute("ALTER TABLE t ADD COLUMN b VARCHAR DEFAULT 'x'")
    assert connection.execute(parsed(connection, "FROM t")).fetchall() == [(1, "x")]
    connection.execute("DROP TABLE t")
    with pytest.raises(duckdb.CatalogException, match="Table with name t does not exist"):
        connection.execute(parsed(connection, "FROM t"))


def test_several_statements_stay_a_text(connection: duckdb.DuckDBPyConnection) -> None:
    text = "CREATE TABLE t AS SELECT 1 AS a; SELECT a FROM t"
    assert parsed(connection, text) == text
    assert connection.execute(parsed(connection, text)).fetchall() == [(1,)]


def test_what_is_no_sql_is_told_as_if_it_had_been_run(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(duckdb.ParserException, match="SELEC"):
        parsed(connection, "SELEC 1")


def test_texts_without_end_do_not_fill_the_memory(connection: duckdb.DuckDBPyConnection) -> None:
    for number in range(2 * statements._MOST + 1):
        parsed(connection, f"SELECT {number}")
        assert len(statements._parsed) <= statements._MOST
