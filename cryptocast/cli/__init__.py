"""The command line: one file per typed word. This one assembles them and shows errors."""

from __future__ import annotations

import atexit
import errno
import gc
import json
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from cryptocast.cli.root.commands import Commands, taking_common_options
from cryptocast.cli.root.hints import as_typed, remember
from cryptocast.cli.root.streams import hold_streams
from cryptocast.errors import CryptocastError, StoreError, UsageError

_INTERRUPTED = 130

app = typer.Typer(
    name="cryptocast",
    cls=Commands,
    help="Forecast crypto prices every 5 minutes, and prove how good the forecasts are.",
    epilog="Start with: cryptocast init -w my-workspace --source sim, "
    "then: cryptocast forecast --once -w my-workspace",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from cryptocast import __version__

        typer.echo(f"cryptocast {__version__}")
        raise typer.Exit


@app.callback()
@taking_common_options
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    **options: Any,
) -> None:
    """Take the options that come before a command, as if they followed it."""
    given = {name: value for name, value in options.items() if value}
    context.default_map = {str(context.invoked_subcommand): given}


def main() -> None:
    """Run the command line of this process and exit."""
    # Imports create many objects and no garbage. With the usual threshold the collector walks
    # through them several times, which takes a tenth of a tick's time.
    gc.set_threshold(100_000)
    hold_streams()
    # Pydantic would look into every installed distribution for plug-ins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _leave(run(sys.argv[1:]))


def _leave(code: int) -> NoReturn:
    """End this process; where nothing else goes on in it, without taking it apart.

    To free every object of every library takes a fifth of a tick, and the system does it anyway.
    """
    if threading.active_count() > 1 or sys.getprofile() is not None:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has left, or it is closed
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one line on stderr."""
    remember(None, None)
    arguments = list(arguments) or ["--help"]
    as_json = "--json" in arguments
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        code = app(arguments, standalone_mode=False, prog_name="cryptocast")
        sys.stdout.flush()  # a full disk is told here, and not by Python at its exit
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            return 0  # rich's own answer to a reader who has left would be 1
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left; Python would complain again at exit
        return 0
    except Exception as error:
        explained = _explained(error, verbose)
        if explained is None:
            raise
        if verbose and explained is error:
            import traceback

            traceback.print_exception(error)
        _print_error(explained.code, explained.message, explained.hint, as_json)
        return explained.exit_code
    if code == _INTERRUPTED:
        _print_error("interrupted", "interrupted", "the same command continues", as_json)
    return code if isinstance(code, int) else 0


def _explained(error: Exception, verbose: bool) -> CryptocastError | None:
    """Return the error that a person can do something about, or None if it is a bug."""
    if isinstance(error, CryptocastError):
        return error
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = "cryptocast" if context is None else context.command_path
        return UsageError(error.format_message().rstrip("."), hint=f"{command} --help")
    if isinstance(error, ModuleNotFoundError):
        if verbose or (error.name or "cryptocast").partition(".")[0] == "cryptocast":
            return None
        # The serving image contains only what ticks need.
        return UsageError(
            f"this needs {error.name}, which is not installed",
            code="usage.not_installed",
            hint="pip install cryptocast installs everything it needs",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"{error.strerror}: nothing more can be written"
        return StoreError(message, code="store.full", hint="free some space")
    if isinstance(error, OSError) and not verbose:
        name = "" if error.filename is None else f"{error.filename}: "
        hint = "check that the file or folder is there and that you may use it"
        return StoreError(f"{name}{error.strerror or error}", code="os.error", hint=hint)
    return None


def _print_error(code: str, message: str, hint: str, as_json: bool) -> None:
    """Print the one line of an error on stderr, as JSON or for a person."""
    message, hint = " ".join(message.split()), as_typed(" ".join(hint.split()))
    if as_json:
        error = {"code": code, "message": message, "hint": hint}
        print(json.dumps({"ok": False, "error": error}), file=sys.stderr)
    else:
        print(f"error: {message} ({hint})" if hint else f"error: {message}", file=sys.stderr)
