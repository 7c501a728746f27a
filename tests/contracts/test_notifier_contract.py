"""What every notifier promises. A new file in `notify/` needs one more case for it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from cryptocast import plugins
from cryptocast.config import ReceiverSettings, Secrets
from cryptocast.errors import ConfigError, NotifyError
from cryptocast.notify import Parcel, deliver, open_notifier
from cryptocast.notify import console as console_notifier
from cryptocast.seams import Notifier
from cryptocast.testing import check_receiver
from cryptocast.values import ALERTS, Alert
from support.hooks import SECRET, Hook

ALERT = Alert(
    1_717_372_800.0,
    "promotion",
    "news",
    'version 7 was promoted by force: "<script>alert(1)</script>"',
    "because & 'quotes'\n\x1b[2Ja bell\x07 and ümläute",
    "my <b>coins</b>",
    ("sim:BTC/EUR:5m",),
)


@dataclass
class Case:
    """A kind of receiver: its settings, its secrets, what it took, and how to break it."""

    settings: ReceiverSettings
    taken: Callable[[], list[str]]  # each as text
    spoil: Callable[[], None]
    environ: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def open(self, timeout_seconds: float = 5.0) -> Notifier:
        return open_notifier(
            self.settings,
            Secrets(self.environ),
            folder=self.folder,
            timeout_seconds=timeout_seconds,
        )


def console(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> Case:
    said = io.StringIO()
    # Not sys.stderr itself: pytest puts its own there again.
    patch.setattr(console_notifier, "sys", SimpleNamespace(stderr=said))

    def taken() -> list[str]:
        return said.getvalue().splitlines()

    return Case(ReceiverSettings(name="console"), taken, said.close, {}, folder)


def file(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> Case:
    log = folder / "logs" / "alerts.log"

    def spoil() -> None:
        log.unlink(missing_ok=True)
        log.mkdir(parents=True)

    def taken() -> list[str]:
        return log.read_text(encoding="utf-8").splitlines()

    return Case(ReceiverSettings(name="file"), taken, spoil, {}, folder)


def webhook(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> Case:
    return _over_http("webhook", "http", folder, stack)


def apprise(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack) -> Case:
    return _over_http("apprise", "json", folder, stack)


def _over_http(name: str, scheme: str, folder: Path, stack: ExitStack) -> Case:
    hook = stack.enter_context(Hook())

    def spoil() -> None:
        hook.status = 500

    def taken() -> list[str]:
        return [" ".join(map(str, body.values())) for body in hook.bodies]

    url = hook.url.replace("http", scheme, 1)
    settings = ReceiverSettings(name=name, url="env:HOOK")
    return Case(settings, taken, spoil, {"HOOK": url}, folder)


CASES = {"console": console, "file": file, "webhook": webhook, "apprise": apprise}


@pytest.fixture(scope="module", autouse=True)
def _apprise_is_loaded() -> None:
    """Its hundred plugins import what Python deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise

        apprise.Apprise().add("json://127.0.0.1")


@pytest.fixture(params=plugins.built_in(plugins.RECEIVERS))
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    if request.param not in CASES:
        pytest.fail(f"the receiver '{request.param}' has no contract case: add it to CASES here")
    with ExitStack() as stack:
        yield CASES[request.param](tmp_path, monkeypatch, stack)


def test_a_receiver_keeps_what_packages_must_promise_too(case: Case) -> None:
    check_receiver(case.open, case.taken, case.spoil, SECRET)


def test_what_cannot_take_an_alert_raises_an_error_of_ours(case: Case) -> None:
    notifier = case.open()
    case.spoil()
    with pytest.raises(NotifyError) as caught:
        notifier.send(ALERT)
    assert caught.value.exit_code == 4
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_delivery_counts_what_a_receiver_took(case: Case) -> None:
    outcome = deliver({"it": Parcel(case.open, [ALERT, ALERT])}, timeout_seconds=10)["it"]
    assert (outcome.sent, outcome.error) == (2, None)
    assert len(case.taken()) == 2


def test_delivery_tells_of_a_receiver_that_fails(case: Case) -> None:
    case.spoil()
    outcome = deliver({"it": Parcel(case.open, [ALERT])}, timeout_seconds=10)["it"]
    assert outcome.sent == 0
    assert isinstance(outcome.error, NotifyError)


def test_nobody_logs_the_secret(case: Case) -> None:
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(  # type: ignore[method-assign]
        handler.format(record)
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        notifier = case.open()
        notifier.send(ALERT)
        case.spoil()
        with pytest.raises(NotifyError):
            notifier.send(ALERT)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert [line for line in lines if SECRET in line] == []


def test_a_receiver_with_a_url_needs_one_that_is_set(case: Case) -> None:
    if not case.environ:
        return
    case.environ.clear()
    with pytest.raises(ConfigError) as caught:
        case.open()
    assert str(caught.value) == "notify.receiver.url names env:HOOK, which is not set"
    assert caught.value.hint == "export HOOK=... or put it into .env"
    case.settings = ReceiverSettings(name=case.settings.name)
    with pytest.raises(ConfigError) as caught:
        case.open()
    assert str(caught.value) == f"the receiver '{case.settings.name}' has no url"
    assert case.settings.name.upper() in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "nonsense", "gopher://x/y", "http://", "http://[", "http://a b/"]
)
def test_what_is_no_url_is_refused_and_not_repeated(case: Case, text: str) -> None:
    if not case.environ:
        return
    case.environ["HOOK"] = text
    with pytest.raises(ConfigError) as caught:
        case.open()
    assert "HOOK" in str(caught.value) + caught.value.hint
    assert not text or text not in str(caught.value).replace("http:// or", "")


@pytest.mark.parametrize("how", ["hang", "reset", "drip"])
def test_a_receiver_that_hangs_costs_no_more_than_was_said(
    case: Case, how: str, tmp_path: Path
) -> None:
    if not case.environ:
        return
    with Hook() as hook:
        hook.how = how
        scheme = case.environ["HOOK"].partition(":")[0]
        case.environ["HOOK"] = hook.url.replace("http", scheme, 1)
        case.open()  # what is imported late is there
        parcel = Parcel(lambda: case.open(0.5), [ALERT])
        outcome = deliver({"it": parcel}, timeout_seconds=0.6)["it"]
    assert outcome.sent == 0
    assert isinstance(outcome.error, NotifyError)
    assert SECRET not in str(outcome.error)


def test_a_kind_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Case(ReceiverSettings(name="webhok"), list, list, {}, tmp_path).open()
    assert str(caught.value) == "there is no receiver 'webhok'"
    assert caught.value.hint == "did you mean 'webhook'? known: " + ", ".join(sorted(CASES))


def test_every_kind_is_told_everything_unless_it_is_said() -> None:
    assert ReceiverSettings(name="console").alerts == ALERTS
