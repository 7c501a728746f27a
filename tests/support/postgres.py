"""A PostgreSQL server on loopback for tests, by the package of the system."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

OWNER, GUEST, PASSWORD = "owner", "guest", "hunter2"


@dataclass(frozen=True)
class Postgres:
    """A running server: its owner may do anything, its guest may only sign in."""

    port: int
    programs: Path

    def uri(self, database: str, user: str = OWNER, password: str = PASSWORD) -> str:
        """The address of a database, with the password."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def shown(self, database: str) -> str:
        """The address as messages show it."""
        return f"postgresql://127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"d{secrets.token_hex(4)}"
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def dump(self, database: str) -> str:
        """All that a database holds, as SQL."""
        words = [self.programs / "pg_dump", self.uri(database)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _programs() -> Path | None:
    """The folder of the server's programs: where Debian keeps them, or on the path."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    return next((Path(program).parent for program in found if program), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server a session; it refuses to run as root, so then it runs as the user `postgres`."""
    programs = _programs()
    if programs is None:
        pytest.skip("there is no initdb: apt-get install postgresql")
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a thousand files
    with tempfile.TemporaryDirectory(prefix="cryptocast-pg-", dir=memory) as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        if as_user:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        data = folder / "data"
        make = [programs / "initdb", "-D", data, "-U", OWNER, "-A", "scram-sha-256", "--no-sync"]
        words = [*as_user, *map(str, make), f"--pwfile={folder / 'password'}", "-E", "UTF8"]
        subprocess.run([*words, "--locale=C"], cwd=folder, capture_output=True, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = [programs / "postgres", "-D", data, "-k", folder, "-h", "127.0.0.1", "-F"]
        words = [*as_user, *map(str, serve), "-p", str(port)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
        try:
            server = Postgres(port, programs)
            until = time.monotonic() + 600
            while not _answers(server):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for every client
            process.wait()


def _answers(server: Postgres) -> bool:
    """Whether the server takes connections; the guest is made at the first."""
    try:
        with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {GUEST} LOGIN PASSWORD '{PASSWORD}'".encode())
    except psycopg.OperationalError:
        return False
    return True
