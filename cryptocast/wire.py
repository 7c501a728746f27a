"""Answers of servers end in time, also from one that sends a byte a second.

The time-outs of HTTP libraries bound the silence between two bytes. With `limit_replies` one also
bounds a whole head, however many `100 Continue` come before it, and a body that trickles.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

LEAST_BYTES_A_SECOND = 1024
"""A body may come this slowly for ever; a slower one uses up the time-out."""


def limit_replies() -> None:
    """Let every HTTP connection of this process keep its time-out, if it has one."""
    http.client.HTTPConnection.response_class = _Reply


class _Reply(http.client.HTTPResponse):
    """A reply that raises TimeoutError when the server is too slow."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._wire = _Wire(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._wire.in_body = True


class _Wire(io.RawIOBase):
    """The bytes of a reply; waiting for them takes its time-out in all, which a body earns back."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._socket = sock
        self._seconds = sock.gettimeout()
        self._left = self._seconds or 0.0
        self.in_body = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived. Raise TimeoutError if the time is used up."""
        if self._seconds is None:
            return self._raw.readinto(buffer)
        if self._left <= 0:
            raise TimeoutError("timed out: the answer comes too slowly")
        self._socket.settimeout(self._left)
        began = time.monotonic()
        size = self._raw.readinto(buffer)
        self._left -= time.monotonic() - began
        if self.in_body:
            self._left = min(self._seconds, self._left + (size or 0) / LEAST_BYTES_A_SECOND)
        return size

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()
        super().close()
