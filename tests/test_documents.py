"""Values as JSON knows them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cryptocast.documents import document, plain
from cryptocast.errors import StateError
from cryptocast.values import Gap, Market


@dataclass(frozen=True, slots=True)
class Thing:
    market: Market
    at: float | None
    skill: float
    gaps: tuple[Gap, ...] = ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_number_that_is_not_finite_is_null(value: float) -> None:
    assert plain({"a": [value, {"b": value}]}) == {"a": [None, {"b": None}]}


def test_numbers_and_arrays_of_numpy_become_numbers_and_lists() -> None:
    value = {"a": np.array([[1.5, math.nan]]), "b": np.int64(3), "c": np.bool_(True)}
    assert json.dumps(plain(value)) == '{"a": [[1.5, null]], "b": 3, "c": true}'


def test_mappings_tuples_and_paths_become_plain() -> None:
    value = MappingProxyType({1: (Path("/a/b"), None)})
    assert plain(value) == {"1": ["/a/b", None]}


def test_an_error_becomes_its_code_message_and_hint() -> None:
    error = StateError("no candles", code="state.no_candles", hint="cryptocast fetch")
    assert plain({"error": error})["error"] == {
        "code": "state.no_candles",
        "message": "no candles",
        "hint": "cryptocast fetch",
    }


def test_a_document_is_the_fields_in_order_with_times_and_market_ids() -> None:
    thing = Thing(Market.of("BTC/EUR", "sim", "5m"), 1_717_372_800.0, math.nan, (Gap(0, 300, 1),))
    assert list(document(thing, times=("at",)).items()) == [
        ("market", "sim:BTC/EUR:5m"),
        ("at", "2024-06-03T00:00:00Z"),
        ("skill", None),
        ("gaps", [{"start": 0, "end": 300, "bars": 1}]),
    ]
    assert document(Thing(thing.market, None, 0.5), times=("at",))["at"] is None


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(Exception, match="object"):
        plain({"a": object()})
