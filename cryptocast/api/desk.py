"""The desk that answers are given at: each is made once, and kept while its files stay the same."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Response

from cryptocast.documents import plain
from cryptocast.errors import CryptocastError, StoreError
from cryptocast.workspace import DATABASE, Workspace

JSON = "application/json"
RETRY_SECONDS = 2
"""How long a client is asked to wait for what is busy."""

STORE = (DATABASE, f"{DATABASE}.wal")
"""The files that what the store holds is read from."""

_MOST_KEPT = 64
_MOST_BYTES = 32 << 20
# Two writes within one tick of the file system's clock cannot be told apart.
_SETTLED_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer: its bytes, and the tag that other bytes would not have."""

    content: bytes
    media: str
    etag: str

    @classmethod
    def of(cls, content: bytes, media: str) -> Kept:
        """Tag an answer with the hash of its bytes."""
        return cls(content, media, f'"{hashlib.sha256(content).hexdigest()[:20]}"')


@dataclass(frozen=True, slots=True)
class Lane:
    """Answers that wait for each other to be made, and for no others."""

    at_once: int
    waiting: int  # more are told to come again


QUICK = Lane(4, 64)
"""What takes milliseconds."""

COMPUTED = Lane(1, 8)
"""What keeps a processor busy for a second."""

ASKED = Lane(1, 4)
"""What a process of its own is started for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to make an answer, and for how long it holds.

    It holds while the workspace's files stay the same, `lasting_seconds` at most (its words may
    depend on the time), and for `fresh_seconds` whatever happens to them (it costs much; an error
    holds for as long).
    """

    key: Hashable
    make: Callable[[], Any]  # bytes, or a document
    media: str = JSON
    lasting_seconds: float = math.inf
    fresh_seconds: float = 0.0
    lane: Lane = QUICK
    files: tuple[str, ...] = STORE  # of the workspace, that it is made from


@dataclass(frozen=True, slots=True)
class _State:
    """Files as they are, and whether none of them was written just now."""

    files: tuple[Hashable, ...]
    settled: bool


@dataclass(slots=True)
class _Place:
    """Where one answer lies; whoever makes it holds the lock, so that others wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: Kept | CryptocastError | None = None
    state: _State | None = None
    made_at: float = 0.0  # on the monotonic clock


class Desk:
    """Gives answers about a workspace, which it reads as a guest."""

    def __init__(self, ws: Workspace, ending: Callable[[], bool]) -> None:
        """Answer about `ws`, which is a guest; `ending` says whether the service is to end."""
        self.ws = ws
        self.ending = ending
        self.streams = 0  # open now; counted in the event loop alone
        self._places: dict[Hashable, _Place] = {}
        self._guard = threading.Lock()
        self._inside: Counter[Lane] = Counter()  # changed in the event loop alone
        self._limiters = {lane: CapacityLimiter(lane.at_once) for lane in (QUICK, COMPUTED, ASKED)}

    async def answer(self, recipe: Recipe) -> Kept:
        """Return an answer, kept or made anew in a thread.

        Raises what making it raises, and StoreError (`api.overloaded`) if too many are waiting.
        """
        place = self._place(recipe.key)
        if (kept := _holding(place, recipe, self._state(recipe))) is not None:
            return kept
        lane = recipe.lane
        if self._inside[lane] >= lane.at_once + lane.waiting:
            raise StoreError("too many requests are waiting", code="api.overloaded", retry=True)
        self._inside[lane] += 1
        try:
            limiter = self._limiters[lane]
            return await to_thread.run_sync(self._made, place, recipe, limiter=limiter)
        finally:
            self._inside[lane] -= 1

    async def respond(self, request: Request, recipe: Recipe) -> Response:
        """Return an answer as a response: 304 without a body if the client has it already."""
        kept = await self.answer(recipe)
        headers = {"ETag": kept.etag, "Cache-Control": "no-cache"}
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if {kept.etag, f"W/{kept.etag}", "*"} & set(known):
            return Response(status_code=304, headers=headers)
        return Response(kept.content, media_type=kept.media, headers=headers)

    def _place(self, key: Hashable) -> _Place:
        """Return the place of an answer as the one that was used last; the oldest is cleared."""
        with self._guard:
            place = self._places.pop(key) if key in self._places else _Place()
            self._places[key] = place
            while len(self._places) > _MOST_KEPT or self._bytes() > _MOST_BYTES:
                del self._places[next(iter(self._places))]
            return place

    def _bytes(self) -> int:
        """Return how much is kept, but for what was used last."""
        kept = [place.kept for place in list(self._places.values())[:-1]]
        return sum(len(each.content) for each in kept if isinstance(each, Kept))

    def _made(self, place: _Place, recipe: Recipe) -> Kept:
        with place.lock:
            # Taken before it is made: what changes meanwhile makes it stale.
            state, began = self._state(recipe), time.monotonic()
            if (kept := _holding(place, recipe, state)) is not None:
                return kept
            try:
                made = recipe.make()
            except CryptocastError as error:
                place.kept, place.state, place.made_at = error, None, time.monotonic()
                raise
            kept = Kept.of(made if isinstance(made, bytes) else encoded(made), recipe.media)
            place.kept, place.state, place.made_at = kept, state, began
            return kept

    def _state(self, recipe: Recipe) -> _State:
        """Return the files that an answer is made from, as they are."""
        found: list[Hashable] = []
        newest = 0.0
        for name in recipe.files:
            try:
                state = (self.ws.folder / name).stat()
            except OSError:
                found.append(None)
                continue
            newest = max(newest, state.st_mtime)
            found.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
        return _State(tuple(found), abs(time.time() - newest) > _SETTLED_SECONDS)


def _holding(place: _Place, recipe: Recipe, state: _State) -> Kept | None:
    """Return the answer that lies in a place, or None if there is none that holds.

    One that was made just after a write holds for a moment only. Raises an error that holds.
    """
    age = time.monotonic() - place.made_at
    lasting = recipe.lasting_seconds
    if place.state is not None and not place.state.settled:
        lasting = min(lasting, _SETTLED_SECONDS)
    same = place.state is not None and place.state.files == state.files and age < lasting
    if not same and age >= recipe.fresh_seconds:
        return None
    if isinstance(place.kept, CryptocastError):
        raise place.kept
    return place.kept


def desk_of(request: Request) -> Desk:
    """Return the desk of the service that a request came to."""
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(desk_of)]
"""A route's way to the desk."""


def encoded(document: Any) -> bytes:
    """Return a document as JSON in ASCII; a number that is not finite is null."""
    return json.dumps(plain(document), separators=(",", ":")).encode()
