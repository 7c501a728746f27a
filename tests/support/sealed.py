"""A process that cannot reach the internet unseen, be it by Python or by a library in C."""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
import sys
from typing import Any

_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def seal() -> list[str]:
    """Return the list that every connection and look-up of Python is noted in from now on.

    A datagram socket of the internet ends the process, and those that it starts.
    """
    noted: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            noted.append(f"{event} {arguments[0]}")
        elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            noted.append(f"{event} {arguments[1]}")

    sys.addaudithook(note)
    if platform.machine() in _SOCKET_CALL:
        _forbid_datagrams(_SOCKET_CALL[platform.machine()])
    return noted


def _forbid_datagrams(call: int) -> None:
    """Let the kernel end this process at socket(AF_INET or AF_INET6, SOCK_DGRAM)."""

    def load(offset: int) -> bytes:
        return struct.pack("HBBI", 0x20, 0, 0, offset)

    def unless(value: int, skip: int) -> bytes:
        return struct.pack("HBBI", 0x15, 0, skip, value)

    program = b"".join(
        (
            load(0),  # the number of the call
            unless(call, 7),
            load(16),  # the family
            struct.pack("HBBI", 0x15, 1, 0, socket.AF_INET),
            unless(socket.AF_INET6, 4),
            load(24),  # the type, without its flags
            struct.pack("HBBI", 0x54, 0, 0, 0xF),
            unless(socket.SOCK_DGRAM, 1),
            struct.pack("HBBI", 0x06, 0, 0, _KILL),
            struct.pack("HBBI", 0x06, 0, 0, _ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = done or libc.prctl(_SECCOMP, _FILTER, ctypes.c_char_p(header), 0, 0)
    if done:
        raise OSError(ctypes.get_errno(), "the process cannot be sealed")
