"""The tables and views, as numbered migrations; new ones are only ever appended."""

from __future__ import annotations

import duckdb

from cryptocast.store.statements import parsed

# `at` is a keyword of DuckDB 2.0: select it as "at", or t.at.
_TABLES = """
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL);

CREATE TABLE candles (
    market VARCHAR NOT NULL,
    open_time TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE,
    provenance VARCHAR NOT NULL CHECK (
        provenance IN ('live', 'backfill', 'repaired', 'revised', 'derived', 'imported')),
    fetched_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (market, open_time)
);

CREATE TABLE level_sets (id INTEGER PRIMARY KEY, levels DOUBLE[] NOT NULL);

CREATE TABLE forecast_sets (
    market VARCHAR NOT NULL,
    origin TIMESTAMPTZ NOT NULL,
    interval_seconds INTEGER NOT NULL,
    model_version VARCHAR NOT NULL,
    model_kind VARCHAR NOT NULL,
    level_set INTEGER NOT NULL,
    quantiles DOUBLE[] NOT NULL,  -- [H * Q]: all levels of step 1, then of step 2, ...
    last_close DOUBLE NOT NULL,
    stale_bars INTEGER NOT NULL,
    scale DOUBLE[],  -- [H]; NULL: 1 everywhere
    issued_at TIMESTAMPTZ NOT NULL,
    written_at TIMESTAMPTZ NOT NULL,
    mode VARCHAR NOT NULL CHECK (mode IN ('live', 'late', 'backfill', 'replay')),
    late BOOLEAN NOT NULL,
    served BOOLEAN NOT NULL,
    fallback VARCHAR
);
CREATE UNIQUE INDEX one_set_per_version ON forecast_sets (market, origin, model_version);
-- DuckDB has no partial index; NULLs are distinct, so this one is unique among served sets.
CREATE UNIQUE INDEX one_served_set
    ON forecast_sets (market, origin, (CASE WHEN served THEN 1 END));

CREATE TABLE ticks (
    market VARCHAR NOT NULL,
    origin TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('ok', 'late', 'missed', 'failed')),
    error_code VARCHAR,
    detail VARCHAR
);

CREATE TABLE deployments (
    id INTEGER PRIMARY KEY,
    "at" TIMESTAMPTZ NOT NULL,
    written_at TIMESTAMPTZ NOT NULL,
    market VARCHAR NOT NULL,
    model_version VARCHAR NOT NULL,
    previous_version VARCHAR,
    action VARCHAR NOT NULL CHECK (action IN ('promote', 'force', 'rollback')),
    reason VARCHAR NOT NULL,
    scores JSON
);

CREATE TABLE events (
    "at" TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    market VARCHAR,
    detail JSON
);
"""

_FORECASTS = """
CREATE VIEW forecasts AS
SELECT
    market, origin, step,
    origin + to_seconds(step * interval_seconds) AS target_time,
    model_version, levels,
    quantiles[(step - 1) * len(levels) + 1 : step * len(levels)] AS quantiles,
    last_close,
    coalesce(scale[step], 1.0) AS scale,
    issued_at, written_at, mode, late, served, fallback
FROM (
    SELECT s.*, l.levels, unnest(range(1, len(s.quantiles) // len(l.levels) + 1)) AS step
    FROM forecast_sets AS s JOIN level_sets AS l ON l.id = s.level_set
);
"""

# CRPS: the mean over the levels q of twice the pinball loss of the log-return, in basis points.
# The last close cancels: ln(actual / last) - ln(quantile / last) = ln(actual / quantile).
_SCORES = """
CREATE VIEW forecast_scores AS
WITH scored AS (
    SELECT
        f.*, c.close AS actual,
        f.quantiles[list_position(f.levels, 0.5::DOUBLE)] AS median,
        f.quantiles[list_position(f.levels, 0.1::DOUBLE)] AS low80,
        f.quantiles[list_position(f.levels, 0.9::DOUBLE)] AS high80,
        f.quantiles[list_position(f.levels, 0.05::DOUBLE)] AS low90,
        f.quantiles[list_position(f.levels, 0.95::DOUBLE)] AS high90
    FROM forecasts AS f JOIN candles AS c
        ON c.market = f.market
        AND c.open_time = f.target_time
            - to_microseconds((epoch_us(f.target_time) - epoch_us(f.origin)) // f.step)
)
SELECT
    market, origin, step, target_time, model_version, served, mode, late, fallback,
    last_close, actual, median,
    1e4 * list_avg(list_transform(levels, lambda q, i:
        2 * greatest(q * ln(actual / quantiles[i]), (q - 1) * ln(actual / quantiles[i]))
    )) AS crps_bp,
    1e4 * abs(ln(actual / median)) AS abs_error_bp,
    1e4 * abs(ln(actual / last_close)) AS naive_abs_error_bp,
    CASE WHEN low80 IS NOT NULL AND high80 IS NOT NULL
        THEN actual BETWEEN low80 AND high80 END AS in80,
    CASE WHEN low90 IS NOT NULL AND high90 IS NOT NULL
        THEN actual BETWEEN low90 AND high90 END AS in90
FROM scored;
"""

# Bars that well-formed answers lacked, until their candles come; what metered sources cost, and
# answers of theirs that need not be paid for again.
_LEDGERS = """
CREATE TABLE missing_bars (
    market VARCHAR NOT NULL,
    open_time TIMESTAMPTZ NOT NULL,
    answers INTEGER NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (market, open_time)
);

CREATE TABLE credits (
    source VARCHAR NOT NULL,
    month DATE NOT NULL,
    calls INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    refused_at TIMESTAMPTZ,
    PRIMARY KEY (source, month)
);

CREATE TABLE source_notes (
    source VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    PRIMARY KEY (source, key)
);
"""

# What `evaluate` measured: one row per (evaluation, model, version, market, step); step NULL is
# all steps, version NULL a baseline. The columns from `model` on are `schemas.SCORES`.
_EVALUATIONS = """
CREATE TABLE scores (
    evaluation INTEGER NOT NULL,
    "at" TIMESTAMPTZ NOT NULL,
    written_at TIMESTAMPTZ NOT NULL,
    start_time TIMESTAMPTZ NOT NULL,
    end_time TIMESTAMPTZ NOT NULL,
    in_sample BOOLEAN NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR,
    market VARCHAR NOT NULL,
    step INTEGER,
    n INTEGER NOT NULL,
    effective_n DOUBLE,
    crps_bp DOUBLE,
    mae_bp DOUBLE,
    relative_mae DOUBLE,
    direction_accuracy DOUBLE,
    direction_low DOUBLE,
    direction_high DOUBLE,
    coverage80 DOUBLE,
    coverage90 DOUBLE,
    calibration DOUBLE,
    qlike DOUBLE,
    skill_vs_random_walk DOUBLE,
    skill_low DOUBLE,
    skill_high DOUBLE,
    skill_vs_constant DOUBLE,
    p_value DOUBLE
);
"""

# Whether the moment of a set was that of a virtual clock (`--as-of`, replay).
_VIRTUAL = 'ALTER TABLE forecast_sets ADD COLUMN "virtual" BOOLEAN DEFAULT false;'

# What the market's own past made of the inner half of a set; [H], NULL: 1 everywhere.
_BODY = "ALTER TABLE forecast_sets ADD COLUMN body DOUBLE[];"

MIGRATIONS: tuple[str, ...] = (
    _TABLES + _FORECASTS + _SCORES,
    *(_LEDGERS, _EVALUATIONS, _VIRTUAL, _BODY),
)
"""SQL texts; number `i` (from 1) brings a database from version `i - 1` to `i`."""

CURRENT = len(MIGRATIONS)
"""The version that this code writes and reads."""


def version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the version of the open database; 0 if it has none of our tables."""
    try:
        row = connection.execute(
            parsed(connection, "SELECT max(version) FROM schema_version")
        ).fetchone()
    except duckdb.CatalogException:
        return 0
    return 0 if row is None or row[0] is None else int(row[0])


def is_foreign(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the database has tables, but not our `schema_version`."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
    ).fetchall()
    return bool(rows) and ("schema_version",) not in rows


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the database, open for writing, to `CURRENT`; no migration is ever half done."""
    for number in range(version(connection) + 1, CURRENT + 1):
        connection.begin()
        try:
            connection.execute(MIGRATIONS[number - 1])
            connection.execute("INSERT INTO schema_version VALUES (?, now())", [number])
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def alteration(connection: duckdb.DuckDBPyConnection) -> str | None:
    """Return the first difference of a database of the version `CURRENT`, or None."""
    with duckdb.connect(":memory:") as fresh:
        migrate(fresh)
        ours, theirs = _columns(fresh), _columns(connection)
    for (table, column), kind in ours.items():
        if not any(table == other for other, _ in theirs):
            return f"the table {table} is missing"
        if (table, column) not in theirs:
            return f"the column {column} of {table} is missing"
        if theirs[table, column] != kind:
            return f"the column {column} of {table} is {theirs[table, column]}, not {kind}"
    tables = {table for table, _ in ours}
    added = (place for place in theirs if place[0] in tables and place not in ours)
    return next((f"the column {column} of {table} is new" for table, column in added), None)


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """Return the type of each column of a table, by table and name."""
    rows = connection.execute(
        "SELECT c.table_name, c.column_name, c.data_type FROM duckdb_columns() AS c"
        " JOIN duckdb_tables() AS t USING (database_oid, schema_oid, table_name)"
        " WHERE c.database_name = current_database() ORDER BY c.table_oid, c.column_index"
    )
    return {(table, column): kind for table, column, kind in rows.fetchall()}
