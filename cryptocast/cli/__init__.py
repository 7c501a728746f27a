"""The command line: one file a typed word. This one puts them together and shows errors."""

from __future__ import annotations

import errno
import gc
import json
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from cryptocast.cli import (
    audit,
    backup,
    config,
    doctor,
    evaluate,
    export,
    fetch,
    forecast,
    guide,
    init,
    models,
    monitor,
    notify,
    pretrain,
    promote,
    prune,
    replay,
    report,
    retrain,
    rollback,
    schedule,
    serve_loop,
    shadow,
    status,
    train,
    tune,
)
from cryptocast.cli._options import install
from cryptocast.errors import CryptocastError

INTERRUPTED = 130

app = typer.Typer(
    name="cryptocast",
    help="Forecast crypto prices every 5 minutes, and prove how good the forecasts are.",
    epilog="Start with: cryptocast init -w my-workspace --source sim, "
    "then: cryptocast forecast --once -w my-workspace",
    pretty_exceptions_enable=False,
)
for _module in (
    init,
    fetch,
    tune,
    train,
    evaluate,
    promote,
    rollback,
    models,
    forecast,
    serve_loop,
    replay,
    shadow,
    schedule,
    status,
    monitor,
    report,
    notify,
    retrain,
    pretrain,
    export,
    config,
    backup,
    prune,
    doctor,
    audit,
    guide,
):
    install(app, _module)


def _version(value: bool) -> None:
    if value:
        from cryptocast import __version__

        typer.echo(f"cryptocast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """The entry point `cryptocast`."""
    # Imports make many objects and no garbage: with the usual threshold the collector walks
    # them all several times, a tenth of a tick's time.
    gc.set_threshold(100_000)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one line on stderr."""
    arguments = list(arguments) or ["--help"]
    as_json = "--json" in arguments
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        code = app(arguments, standalone_mode=False, prog_name="cryptocast")
    except CryptocastError as error:
        if verbose:
            import traceback

            traceback.print_exception(error)
        _tell(error.code, error.message, error.hint, as_json)
        return error.exit_code
    except ModuleNotFoundError as error:
        if verbose or (error.name or "cryptocast").partition(".")[0] == "cryptocast":
            raise
        # The serving image has no more than ticks need.
        needed = f"this needs {error.name}, which is not installed"
        _tell("usage.not_installed", needed, "pip install cryptocast brings all it needs", as_json)
        return 2
    except TyperException as error:
        word = next((a for a in arguments if not a.startswith("-")), "")
        known = word in {c.name for c in app.registered_commands}
        hint = f"cryptocast {word} --help" if known else "cryptocast --help"
        _tell("usage", error.format_message().rstrip("."), hint, as_json)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader left; Python would complain once more at exit
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _tell("store.full", f"{error.strerror}: nothing more can be written", "free space", as_json)
        return 4
    if code == INTERRUPTED:
        _tell("interrupted", "interrupted", "the same command goes on where it was", as_json)
    return code if isinstance(code, int) else 0


def _tell(code: str, message: str, hint: str, as_json: bool) -> None:
    message, hint = " ".join(message.split()), " ".join(hint.split())
    if as_json:
        error = {"code": code, "message": message, "hint": hint}
        print(json.dumps({"ok": False, "error": error}), file=sys.stderr)
    else:
        print(f"error: {message} ({hint})" if hint else f"error: {message}", file=sys.stderr)
