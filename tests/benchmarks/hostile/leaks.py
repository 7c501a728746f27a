"""Secrets in odd places, which no output and no file may tell."""

from __future__ import annotations

import json
import os

from cases import Case

PLACES = (
    "postgresql://me:{}@127.0.0.1:1/db", "http://me:a@{}@127.0.0.1:1/x",
    "http://127.0.0.1:1/?password={}",
    "http://127.0.0.1:1/x?a=b&api_key={}", "mssql+pyodbc:///?odbc_connect=PWD%3D{}",
    "me:{}@127.0.0.1:1",
    "http://127.0.0.1:1/#{}", "http://me: {} @127.0.0.1:1/", "//me:{}@127.0.0.1:1/",
    "http://127.0.0.1:1/;password={}", "http://[::1:{}", "HTTP://ME:{}@127.0.0.1:1\\x",
    "http:/me:{}@h",
    "json://me:{}@127.0.0.1:1", "mailto://{}:{}@127.0.0.1:1",
    "http://me%3A{}@127.0.0.1:1/", "http://\x7f{}@127.0.0.1:1",
)  # fmt: skip

HOOKS = (
    "\t{} \n",
    "http://127.0.0.1:1/hooks/{}",
    "tgram://{}/1",
    "{}",
    "http://{}/",
    "http://127.0.0.1:{}/",
)


def secrets(case: Case) -> None:
    """A secret in an odd place: no output and no file but `.env` tells it."""
    draw = case.draw
    secret = "".join(draw.choices("abcdefghijkmnpqrstuvwxyz23456789", k=16))
    case.secrets = (secret, secret[:10], secret[-10:])
    place = draw.choice(PLACES)
    where = draw.choice(("MLFLOW_TRACKING_URI", "COINCAP_API_KEY", "webhook", "apprise",
                         "mlflow.tracking_uri", "source.base_url", "env:mlflow",
                         "fallback"))  # fmt: skip
    if where in ("COINCAP_API_KEY", "webhook", "apprise"):  # the whole of it is a secret
        place = draw.choice((*PLACES, *HOOKS))
    case.notes += [where, place]
    workspace, value = case.folder / "w", place.replace("{}", secret)
    workspace.mkdir()
    text = "[source]\nname = 'coincap'\n[market]\nsymbols = ['BTC/USD']\n"
    own = {
        "webhook": "[[notify.receiver]]\nname = 'webhook'\nurl = 'env:HOOK'\n",
        "apprise": "[[notify.receiver]]\nname = 'apprise'\nurl = 'env:HOOK'\n",
        "env:mlflow": "[mlflow]\ntracking_uri = 'env:HOOK'\n",
        "fallback": "[[source.fallback]]\nname = 'kraken'\nbase_url = " + json.dumps(value) + "\n",
    }
    (workspace / "cryptocast.toml").write_text(text + own.get(where, ""), encoding="utf-8")
    name = f"CRYPTOCAST_{where.upper().replace('.', '__')}" if "." in where else where
    name = "HOOK" if where in own else name
    if where != "fallback" and case.chance(0.5):
        (workspace / ".env").write_text(f"{name}='{value}'\n", encoding="utf-8")
    else:
        os.environ[name] = value
    os.environ.setdefault("CRYPTOCAST_SOURCE__BASE_URL", "http://127.0.0.1:1/v3")
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    for words in (
        ("fetch",),
        ("doctor",),
        ("config",),
        ("models",),
        ("notify", "--test"),
        ("status",),
    ):
        if case.chance(0.7):
            more = [o for o in ("--json", "--verbose") if case.chance(0.3)]
            try_all = ("--as-of", "2024-06-03") if case.chance(0.5) else ()
            case.run(*words, "-w", workspace, *try_all, *more)
    if case.chance(0.3):
        case.run("backup", "-w", workspace, "--out", case.folder / "b")
    for file in case.folder.rglob("*"):
        # What a person wrote there is theirs.
        if (
            file.is_file()
            and file.name != ".env"
            and not (where == "fallback" and file.suffix == ".toml")
        ):
            case.look_for_secrets(file.read_bytes().decode("latin-1"))
