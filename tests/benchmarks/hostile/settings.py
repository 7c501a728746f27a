"""Odd settings, variables, names of folders and markets, moments, and secrets in odd places."""

from __future__ import annotations

import os
from pathlib import Path

from cases import AS_OF, Case, Truth, judge

COMMANDS = ("config", "status", "doctor", "fetch", "forecast", "export", "models", "query",
            "schedule", "prune", "backup", "monitor", "evaluate", "report", "notify", "promote",
            "rollback", "replay", "serve-loop", "shadow")  # fmt: skip
KEYS = ("data.days", "data.test_bars", "data.gate_bars", "model.horizon", "model.lookback",
        "model.levels", "model.kind", "market.symbols", "market.interval", "source.name",
        "source.path", "source.columns", "source.base_url", "source.api_key", "source.seed",
        "source.monthly_credits", "loop.backfill_bars", "loop.wait_seconds", "store.wait_seconds",
        "prune.rows_days", "notify.timeout_seconds", "mlflow.tracking_uri", "metrics.file",
        "tune.timeout_seconds", "retrain.cooldown_hours", "nothing.known")  # fmt: skip
VALUES = ("inf", "-inf", "nan", "1e308", "-1", "0", "1e-320", "10000000000000000000000000",
          "'inf'", "''", "'\\u0000'", "[]", "[[[]]]", "{}", "true", "1979-05-27T07:32:00Z",
          "'~nosuchuser/x'", "'%41'", "'a?b#c'", "'../../x'", "'/dev/null'", "'\\u001b[2J'",
          "9" * 5000, "'BTC/USDT:USDT'", "3650",
          "['btc/eur']", "['\u0412\u0422\u0421/EUR']", "['BTC/EUR', 'BTC/EUR']",
          "['sim:BTC/EUR:5m']", "'x' ", "0x10", "1_000", "'env:HOME'", "'env:'")  # fmt: skip
MOMENTS = ("0001-01-01", "9999-12-31T23:59:59Z", "1969-12-31", "2024-02-30", "now", "", "0",
           "2024-06-01T00:00:00+23:59", "1e400", "10000-01-01", "2024-06-01T24:00:00Z", "-1",
           "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "२०२४-०६-०१", "2024-W01-1",
           "1717200000", "99999999999999999999", "2024-06-01\x00",
           "2024-06-01T00:00:00,5Z")  # fmt: skip
NAMES = (b"caf\xe9", b"a?b", b"%41b", b"a#b", b"~nosuchuser", b"~", b"a b", b"-w", b"--json",
         "тест".encode(), b"a\nb", b"a\x1b[31mb", b"a'b\"c", b"a;b", b"[a]", b"*", b"\\x",
         b"x" * 200, b".hidden", "\u202egnp".encode(), b"file:x", b"a:b", b"md:x", b"$HOME",
         b"x.duckdb", b"a%b", b"s3:", b"\xff\xfe", b":memory:", b"a@b", b"x" * 300)  # fmt: skip
MARKETS = ("btc/eur", "BTC/USDT:USDT", "\u0412\u0422\u0421/EUR", "BTC", "", "/", "BTC/",
           "BTC/EUR/USD", "BTC-EUR", "sim:BTC/EUR:5m", "sim:BTC/EUR:7m",
           "nosuch:BTC/EUR:5m", "BTC/EUR\x1b[2J", "BTC /EUR",
           "file:BTC/EUR:5m", "BTC/EUR:5m", "a" * 500 + "/EUR", "BTC/EUR'; DROP TABLE candles;--",
           "🚀/EUR", "BTC/BTC", "%42TC/EUR", "../EUR", "BTC/EUR?x", "*", "1/2",
           "İ/EUR")  # fmt: skip


def nested(depth: int, mark: str = "[]") -> str:
    return mark[0] * depth + mark[1] * depth


def command(case: Case, workspace: str | Path) -> int:
    """Run some command that a person might type in the workspace."""
    name = case.draw.choice(COMMANDS)
    more: list[str | Path] = {
        "export": ["candles", "--out", case.folder / "out.csv"],
        "query": [
            case.draw.choice(("SELECT 1", "SELECT * FROM nothing", "SELEC", "", "ATTACH 'x'"))
        ],
        "forecast": ["--once"],
        "report": ["--out", case.folder / "r.html"],
        "notify": ["--test"] if case.chance(0.5) else [],
        "promote": [case.draw.choice(("1", "01", "-1", "٢", "x\x1b[2J", "../1", "9" * 5000))],
        "replay": ["--start", "2024-06-02T23:00", "--end", case.draw.choice(MOMENTS)],
        "serve-loop": ["--max-ticks", "1", "--as-of", "2024-06-03"],
    }.get(name, [])
    options: list[str] = [o for o in ("--json", "--quiet") if case.chance(0.3)]
    if case.chance(0.8):
        options += ["--as-of", AS_OF if case.chance(0.5) else "2024-06-03"]
    return case.run(name, "-w", workspace, *more, *options)


def toml(case: Case) -> bytes:
    """A settings file with something odd in it."""
    draw = case.draw
    key, value = draw.choice(KEYS), draw.choice(VALUES)
    section, name = key.split(".")
    text = f"[source]\nname = 'sim'\n\n[{section}]\n{name} = {value}\n"
    if section == "source":
        text = f"[source]\n{name} = {value}\n"
    odd = draw.choice(("", "", "", "bom", "utf-16", "latin-1", "nul", "deep", "cut", "flip", "cr"))
    case.notes += [key, value[:60], odd]
    content = text.encode()
    if odd == "deep":
        content += (
            f"x = {nested(draw.choice((100, 3000, 100_000)), draw.choice(('[]', '{}')))}".encode()
        )
    if odd == "flip":
        at = draw.randrange(len(content))
        content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    return {
        "bom": b"\xef\xbb\xbf" + content,
        "utf-16": text.encode("utf-16"),
        "latin-1": content + "# é\n".encode("latin-1"),
        "nul": content + b"\0",
        "cut": content[: draw.randrange(len(content))],
        "cr": content.replace(b"\n", b"\r"),
    }.get(odd, content)


def variables(case: Case) -> None:
    """Odd values in the environment."""
    draw = case.draw
    for _ in range(draw.choice((0, 1, 1, 3))):
        key = draw.choice(KEYS)
        value = draw.choice(
            (*VALUES, nested(50_000), '{"a":' * 5000, '["BTC/EUR"]', "\x1b[2J", "\udce9")
        )
        name = f"CRYPTOCAST_{key.upper().replace('.', '__')}"
        if "\0" not in value and "\\u0000" not in value:
            os.environ[name] = value
            case.notes += [name, value[:60]]


def dotenv(case: Case, workspace: Path) -> None:
    """An .env file that an editor made."""
    text = "COINCAP_API_KEY=abcdefgh\nX='é\n"
    kind = case.draw.choice(("utf-16", "latin-1", "utf-8-sig", "utf-32", "nul", "folder", "loop"))
    file = workspace / ".env"
    case.notes += [f".env {kind}"]
    if kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    elif kind == "nul":
        file.write_bytes(b"A=\0\0\nB=1\0")
    else:
        file.write_bytes(text.encode(kind))


def settings(case: Case) -> None:
    """A workspace with odd settings, in which commands are typed."""
    draw = case.draw
    workspace = case.folder / "w"
    workspace.mkdir()
    if case.chance(0.4):  # with candles
        (workspace / "cryptocast.toml").write_text("[source]\nname = 'sim'\n", encoding="utf-8")
        case.run("fetch", "-w", workspace, "--days", "1", "--as-of", "2024-06-03")
    (workspace / "cryptocast.toml").write_bytes(toml(case) if case.chance(0.8) else b"")
    if case.chance(0.25):
        dotenv(case, workspace)
    if case.chance(0.5):
        variables(case)
    for _ in range(2):
        command(case, workspace)
    if case.chance(0.4):
        case.run("config", "-w", workspace, "set", draw.choice(KEYS), draw.choice(VALUES))
    option = draw.choice(("--as-of", "--start", "--end", "--days"))
    value = draw.choice((*MOMENTS, "inf", "nan", "1e300", "-5", "99999999"))
    case.run("fetch", "-w", workspace, option, value)
    case.run(draw.choice(("status", "forecast")), "-w", workspace, "--as-of", draw.choice(MOMENTS))


def names(case: Case) -> None:
    """Folders, files and markets of odd names; nothing is made but in the workspace."""
    draw = case.draw
    name = os.fsdecode(draw.choice(NAMES))
    market = draw.choice(MARKETS) if case.chance(0.5) else "BTC/EUR"
    case.notes += [ascii(name[:60]), ascii(market[:60])]
    workspace = case.folder / "in" / name
    rows = {1717200000 + 300 * i: (1.0 + i, 2.0 + i, 0.5 + i, 1.5 + i, 1.0) for i in range(40)}
    text = "ts,open,high,low,close,volume\n"
    text += "".join(f"{t},{','.join(map(str, row))}\n" for t, row in rows.items())
    data = case.folder / os.fsdecode(draw.choice(NAMES))
    try:
        workspace.mkdir(parents=True)
        (workspace / "cryptocast.toml").write_text("[source]\nname = 'sim'\n", encoding="utf-8")
        data.mkdir(exist_ok=True)
        (data / "BTC-EUR.csv").write_text(text, encoding="utf-8")
    except OSError:
        return  # no such name is possible here
    if case.chance(0.3):
        os.chdir(workspace.parent)
        given: str | Path = name  # as typed: options and homes are expanded there
    else:
        given = workspace
    before = listing(case.folder, workspace)
    options = ("--start", "2024-01-01", "--as-of", AS_OF)
    imported = ("--source", "file", "--path", data, "--market", market)
    code = case.run("fetch", f"--workspace={given}", *imported, *options)
    if market == "BTC/EUR" and given is workspace:
        truth = Truth({t: [row] for t, row in rows.items()}, set(rows))
        judge(case, workspace, "sim:BTC/EUR:5m", truth, code)
    if case.chance(0.5):
        command(case, workspace)
    if case.chance(0.5):
        case.run("forecast", "--once", f"--workspace={given}", "--symbol", market, *options[2:])
    made = {p for p in listing(case.folder, workspace) - before if p not in ("out.csv", "r.html")}
    if made:
        case.found("strays", f"outside of the workspace: {sorted(made)}")


def listing(folder: Path, workspace: Path) -> set[str]:
    """Everything below a folder, but for the workspace."""
    return {
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if workspace != p and workspace not in p.parents
    }
