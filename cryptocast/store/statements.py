"""SQL that is parsed once: the same few texts come again and again."""

from __future__ import annotations

import duckdb

_MOST = 256  # texts; some name the columns or the tables that a caller asks for
_parsed: dict[str, duckdb.Statement | str] = {}


def parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement | str:
    """Return the statement of this text, to be executed on any connection.

    Parsing takes a third of the time of a small query. A text of several statements is
    returned as it is.
    """
    statement = _parsed.get(sql)
    if statement is None:
        statements = connection.extract_statements(sql)
        statement = statements[0] if len(statements) == 1 else sql
        if len(_parsed) >= _MOST:
            _parsed.clear()
        _parsed[sql] = statement
    return statement
