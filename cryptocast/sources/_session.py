"""One request over kept connections; errors of the HTTP library become ours here."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from cryptocast import __version__
from cryptocast.sources import _faults
from cryptocast.sources._pace import Patience

Query = Mapping[str, str | int]

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_LOOPBACK = re.compile(r"^(localhost|127\.[\d.]+|::1)$")
_LIMIT_HEADER = re.compile(r"credit|limit|quota|usage|retry-after")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """The complete reply of a server."""

    status: int
    body: bytes
    skew_seconds: float | None  # its clock minus ours; None if it sent no time
    retry_after_seconds: float | None  # how long it asks to wait


class Session:
    """Connections to one API, kept for the next request and shared by threads."""

    def __init__(self, source: str, base_url: str, key: str | None, patience: Patience) -> None:
        self._source = source
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._patience = patience
        self._requests = requests.Session()
        self._requests.headers["User-Agent"] = f"cryptocast/{__version__}"
        self._requests.headers["Accept"] = "application/json"
        self._requests.max_redirects = 3
        # A proxy from the environment cannot reach this machine itself.
        host = urlsplit(self._base_url).hostname or ""
        self._requests.trust_env = not _LOOPBACK.match(host)
        # Setting `auth` keeps .netrc out; requests drops the header when redirected elsewhere.
        self._requests.auth = self._authorize

    def ask(self, path: str, params: Query, deadline: float) -> HttpReply:
        """Make one GET request and read its whole body, until the monotonic `deadline`.

        Raise SourceError: source.unreachable, source.timeout, source.bad_answer.
        """
        left = max(deadline - time.monotonic(), 0.01)
        connect = min(self._patience.connect_seconds, left)
        read = min(self._patience.read_seconds, left)
        try:
            with self._requests.get(
                self._base_url + path, params=params, timeout=(connect, read), stream=True
            ) as response:
                headers = dict(response.headers.lower_items())
                skew = _skew(headers)  # before the body, which may take its time
                body = self._body(path, response, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as fault:
            seconds = connect if isinstance(fault, requests.ConnectTimeout) else read
            what = f"did not answer within {seconds:.3g} s"
            raise _faults.timed_out(self._source, path, what) from None
        except requests.TooManyRedirects:
            content = "with one redirect after another"
            raise _faults.bad_answer(self._source, path, content) from None
        except urllib3.exceptions.DecodeError:
            content = "with a body that cannot be unpacked"
            raise _faults.bad_answer(self._source, path, content) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as fault:
            # The texts of these errors hold the URL with its query: only the bare reason is kept.
            host = urlsplit(self._base_url).netloc
            raise _faults.unreachable(self._source, host, fault) from None
        self._note(path, response.status_code, headers, body)
        return HttpReply(response.status_code, body, skew, _retry_after(headers))

    def close(self) -> None:
        """Close the connections; a later `ask` opens new ones."""
        self._requests.close()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _body(self, path: str, response: requests.Response, deadline: float) -> bytes:
        """Return the body, read in pieces so that neither a drip nor a flood goes on for ever."""
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(65536, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > deadline:
                what = "did not finish its answer in time"
                raise _faults.timed_out(self._source, path, what)
            if size > LARGEST_ANSWER_BYTES:
                raise _faults.bad_answer(self._source, path, "with more than 32 MiB")
        return b"".join(pieces)

    def _note(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Log what is not documented: the size of replies, and headers about limits."""
        limits = [f"{k}: {v}" for k, v in headers.items() if _LIMIT_HEADER.search(k)]
        _log.debug(
            "%s answered HTTP %d with %d bytes (GET %s) %s",
            *(self._source, status, len(body), path),
            _faults.clean("; ".join(limits), self._key),
        )


def _skew(headers: Mapping[str, str]) -> float | None:
    """Return the server's clock minus ours; a cache in between says how old its reply is."""
    age = headers.get("age", "")
    try:
        stamp = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return stamp + (int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0) - time.time()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, given as a number or as a date."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
