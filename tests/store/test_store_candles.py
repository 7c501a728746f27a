from __future__ import annotations

import itertools
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.store import (
    Credits,
    Reader,
    Span,
    Store,
    Stored,
    candle_summaries,
    confirmed_missing,
    fillable_gaps,
    gaps,
    schema,
)
from cryptocast.values import Candles, Gap, Market, parse_time

START = 1_717_372_800
BAR = 300
NAN = float("nan")

Make = Callable[..., Candles]
Query = Callable[[str], list[tuple[Any, ...]]]


def put(
    store: Store,
    market: Market,
    candles: Candles,
    provenance: str = "backfill",
    fetched_at: float = START,
) -> Stored:
    with store.write() as writer:
        return writer.put_candles(
            market,
            candles,
            provenance=provenance,
            fetched_at=fetched_at,
        )


def provenances(query: Query) -> dict[int, str]:
    """Bar after START -> provenance."""
    return dict(
        query(
            f"SELECT (epoch_us(open_time) // 1000000 - {START}) // 300, provenance"
            " FROM candles ORDER BY open_time"
        )
    )


def test_what_is_put_is_what_is_read(store: Store, market: Market, make_candles: Make) -> None:
    given_candles = make_candles(range(10), volume=NAN)
    assert put(store, market, given_candles) == Stored(new=10, revised=0, repaired=0)
    with store.read() as reader:
        found = reader.candles([market], START, START + 10 * BAR)[market]
        part = reader.candles([market], START + 2 * BAR, START + 4 * BAR)[market]
        assert reader.spans([market]).get(market) == Span(10, START, START + 9 * BAR)
        assert reader.stored_markets() == ["bitvavo:BTC/EUR:5m"]
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given_candles, name))
        assert type(getattr(found, name)) is np.ndarray
        assert getattr(found, name).dtype == getattr(given_candles, name).dtype
    assert part.open_time.tolist() == [START + 2 * BAR, START + 3 * BAR]


def test_an_empty_store_holds_nothing(store: Store, market: Market) -> None:
    with store.read() as reader:
        assert len(reader.candles([market], 0, START)[market]) == 0
        assert reader.spans([market]).get(market) is None
        assert reader.stored_markets() == []


def test_a_missing_volume_is_null_for_others(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles([0], volume=NAN))
    assert query("SELECT volume FROM candles") == [(None,)]


@st.composite
def put_in_pieces(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """Some bars; and calls that bring all of them in any split, any order, some repeatedly."""
    bars = draw(st.lists(st.integers(0, 60), min_size=1, max_size=30, unique=True))
    shuffled = draw(st.permutations(bars + draw(st.lists(st.sampled_from(bars), max_size=20))))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=5)))
    edges = [0, *cuts, len(shuffled)]
    pieces = [shuffled[a:b] for a, b in itertools.pairwise(edges)]
    return bars, [sorted(set(piece)) for piece in pieces]


@settings(max_examples=25)
@given(put_in_pieces())
def test_any_split_in_any_order_and_twice_gives_the_same_table(
    market: Market, make_candles: Make, pieces: tuple[list[int], list[list[int]]]
) -> None:
    bars, calls = pieces
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "x.duckdb", 60)
        counts = [put(store, market, make_candles(call), "imported") for call in calls]
        with store.read() as reader:
            found = reader.candles([market], 0, START + 100 * BAR)[market]
            assert reader.events("candle.revised") == []
    whole = make_candles(sorted(bars))
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert sum(count.new for count in counts) == len(bars)


def test_a_row_with_the_same_values_stays_untouched(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles(range(3)), fetched_at=START)
    assert put(store, market, make_candles(range(3)), fetched_at=START + 99) == Stored(0, 0, 0)
    assert query("SELECT DISTINCT epoch(fetched_at), provenance FROM candles") == [
        (START, "backfill")
    ]


def test_a_row_with_other_values_is_replaced_and_its_past_kept_as_an_event(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles(range(3), volume=NAN))
    revised = make_candles([1], shift=0.25)
    assert put(store, market, revised, "live", START + 9.5) == Stored(0, 1, 0)
    assert provenances(query) == {0: "backfill", 1: "revised", 2: "backfill"}
    with store.read() as reader:
        (event,) = reader.events("candle.revised")
        assert reader.candles([market], START + BAR, START + 2 * BAR)[market].close == revised.close
    old = make_candles([1])
    assert (event.at, event.market) == (START + 9.5, market.id)
    assert event.detail["open_time"] == "2024-06-03T00:05:00Z"
    assert event.detail["old"]["volume"] is None
    assert event.detail["old"]["close"] == old.close[0]
    assert event.detail["new"] == {
        name: getattr(revised, name)[0] for name in ("open", "high", "low", "close", "volume")
    }
    (detail,) = query("SELECT detail FROM events")[0]
    assert json.loads(detail) == event.detail


def test_a_missing_volume_takes_no_stored_one_away(
    store: Store, market: Market, make_candles: Make
) -> None:
    put(store, market, make_candles(range(2), volume=7.0))
    assert put(store, market, make_candles(range(2), volume=NAN)) == Stored(0, 0, 0)
    assert put(store, market, make_candles([0], shift=1, volume=NAN)) == Stored(0, 1, 0)
    with store.read() as reader:
        assert reader.candles([market], START, START + 9 * BAR)[market].volume.tolist() == [
            7.0,
            7.0,
        ]


def test_the_first_tick_backfills_and_later_ones_are_live(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles([0, 1]), "live")
    assert put(store, market, make_candles([2, 3]), "live") == Stored(2, 0, 0)
    assert provenances(query) == {0: "backfill", 1: "backfill", 2: "live", 3: "live"}


@pytest.mark.parametrize("provenance", ["live", "backfill"])
def test_a_row_that_fills_a_hole_is_repaired_and_one_before_the_first_is_backfill(
    store: Store, market: Market, make_candles: Make, query: Query, provenance: str
) -> None:
    put(store, market, make_candles([5, 8]))
    assert put(store, market, make_candles([3, 6, 7, 9]), provenance) == Stored(2, 0, 2)
    assert provenances(query) == {
        3: "backfill",
        5: "backfill",
        6: "repaired",
        7: "repaired",
        8: "backfill",
        9: provenance,
    }


@pytest.mark.parametrize("provenance", ["imported", "derived"])
def test_what_the_caller_imports_or_derives_keeps_that_name_everywhere(
    store: Store, market: Market, make_candles: Make, query: Query, provenance: str
) -> None:
    put(store, market, make_candles([5, 8]))
    assert put(store, market, make_candles([3, 6, 9]), provenance) == Stored(3, 0, 0)
    assert {bar: p for bar, p in provenances(query).items() if bar in (3, 6, 9)} == dict.fromkeys(
        (3, 6, 9), provenance
    )


def test_markets_do_not_touch_each_other(store: Store, market: Market, make_candles: Make) -> None:
    other = Market("kraken", "BTC", "EUR", "5m")
    put(store, market, make_candles(range(3)))
    assert put(store, other, make_candles(range(5), shift=3)) == Stored(5, 0, 0)
    with store.read() as reader:
        assert reader.spans([market]).get(market) == Span(3, START, START + 2 * BAR)
        assert gaps(reader, {other: (START, START + 5 * BAR)})[other] == []
        assert reader.stored_markets() == ["bitvavo:BTC/EUR:5m", "kraken:BTC/EUR:5m"]


def test_candles_that_are_not_normalised_are_refused(
    store: Store, market: Market, make_candles: Make
) -> None:
    with pytest.raises(ValueError, match="their open times are not rising"):
        put(store, market, make_candles([1, 1]))


def test_an_exception_inside_leaves_nothing_behind(
    store: Store, market: Market, make_candles: Make
) -> None:
    with pytest.raises(KeyboardInterrupt), store.write() as writer:  # noqa: PT012
        writer.put_candles(market, make_candles(range(9)), provenance="live", fetched_at=1)
        raise KeyboardInterrupt
    with store.read() as reader:
        assert reader.spans([market]).get(market) is None


def gaps_by_a_slow_loop(there: set[int], start: int, end: int) -> list[Gap]:
    found: list[Gap] = []
    for moment in range(-(-start // BAR) * BAR, end, BAR):
        if moment in there:
            continue
        if found and found[-1].end == moment:
            found[-1] = Gap(found[-1].start, moment + BAR, found[-1].bars + 1)
        else:
            found.append(Gap(moment, moment + BAR, 1))
    return found


def test_gaps_are_those_of_a_slow_loop(store: Store, market: Market, make_candles: Make) -> None:
    draw = random.Random(7)
    bars = sorted(draw.sample(range(200), 120))
    put(store, market, make_candles(bars))
    there = {START + BAR * bar for bar in bars}
    other = Market("kraken", "BTC", "EUR", "5m")
    put(store, other, make_candles(bars[::3]))
    bars_of_other = {START + BAR * bar for bar in bars[::3]}
    with store.read() as reader:
        for _ in range(60):
            start = START + draw.randrange(-5 * BAR, 210 * BAR)
            end = start + draw.randrange(-BAR, 60 * BAR)
            slow = gaps_by_a_slow_loop(there, start, end)
            assert gaps(reader, {market: (start, end)})[market] == slow
            ranges = {other: (end, start + 9 * BAR), market: (start, end)}
            assert gaps(reader, ranges) == {
                other: gaps_by_a_slow_loop(bars_of_other, *ranges[other]),
                market: slow,
            }


def test_where_nothing_is_stored_the_whole_range_is_one_gap(store: Store, market: Market) -> None:
    with store.read() as reader:
        assert gaps(reader, {market: (START, START + 3 * BAR)})[market] == [
            Gap(START, START + 3 * BAR, 3)
        ]
        assert gaps(reader, {market: (START, START)})[market] == []


def test_a_reader_cannot_write(store: Store) -> None:
    with store.read() as reader:
        assert type(reader) is Reader
        assert not hasattr(reader, "put_candles")


def missing(store: Store, market: Market, bars: Sequence[int], asked_at: float) -> None:
    with store.write() as writer:
        writer.put_missing(market, START + BAR * np.array(bars, dtype=np.int64), asked_at)


def holes(store: Store, market: Market, end: int) -> list[int]:
    """The bars that are still asked for."""
    with store.read() as reader:
        found = fillable_gaps(reader, {market: (START, START + end * BAR)})[market]
    return [
        bar for gap in found for bar in range((gap.start - START) // BAR, (gap.end - START) // BAR)
    ]


def test_two_answers_of_two_runs_confirm_a_bar_missing(
    store: Store, market: Market, make_candles: Make
) -> None:
    put(store, market, make_candles([0, 1, 4]))
    assert holes(store, market, 6) == [2, 3, 5]
    missing(store, market, [2, 3], asked_at=100.0)
    missing(store, market, [2], asked_at=100.0)  # the same run asked again
    assert holes(store, market, 6) == [2, 3, 5]
    missing(store, market, [2, 5], asked_at=200.0)
    assert holes(store, market, 6) == [3, 5]
    with store.read() as reader:
        assert confirmed_missing(reader, {market: (START, START + 6 * BAR)})[market] == 1
        assert confirmed_missing(reader, {market: (START + 3 * BAR, START + 6 * BAR)})[market] == 0
        (found,) = gaps(reader, {market: (START, START + 6 * BAR)}).values()
        assert sum(gap.bars for gap in found) == 3


def test_a_candle_that_comes_after_all_is_missing_no_more(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles([0, 4]))
    for run in (1.0, 2.0):
        missing(store, market, [1, 2, 3], asked_at=run)
    assert put(store, market, make_candles([2])) == Stored(0, 0, 1)
    assert holes(store, market, 5) == []
    with store.read() as reader:
        assert confirmed_missing(reader, {market: (START, START + 5 * BAR)})[market] == 2
    assert query("SELECT count(*) FROM missing_bars") == [(2,)]


def test_a_bar_that_is_stored_is_never_noted_as_missing(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles([0, 1]))
    missing(store, market, [0, 1, 2], asked_at=1.0)
    assert query("SELECT epoch(open_time) FROM missing_bars") == [(START + 2 * BAR,)]


def test_what_is_missing_at_one_market_is_not_so_at_another(
    store: Store, market: Market, make_candles: Make
) -> None:
    other = Market("kraken", "BTC", "EUR", "5m")
    for run in (1.0, 2.0):
        missing(store, market, [0], asked_at=run)
    assert holes(store, market, 1) == []
    assert holes(store, other, 1) == [0]


def test_revised_rows_among_new_ones_keep_their_places(
    store: Store, market: Market, make_candles: Make, query: Query
) -> None:
    put(store, market, make_candles([0, 2, 4]))
    mixed = make_candles([0, 1, 2, 3, 4, 5], shift=1)
    assert put(store, market, mixed, "live") == Stored(1, 3, 2)
    with store.read() as reader:
        assert (
            reader.candles([market], START, START + 9 * BAR)[market].close.tolist()
            == mixed.close.tolist()
        )
    assert provenances(query) == {
        0: "revised",
        1: "repaired",
        2: "revised",
        3: "repaired",
        4: "revised",
        5: "live",
    }


def test_the_provenances_of_a_range_are_counted(
    store: Store, market: Market, make_candles: Make
) -> None:
    put(store, market, make_candles([0, 2]))
    put(store, market, make_candles([1, 3]), "live")
    with store.read() as reader:
        summaries = candle_summaries(reader, [market], START, START + 9 * BAR)
        assert summaries[market].provenances == {"backfill": 2, "live": 1, "repaired": 1}
        later = candle_summaries(reader, [market], START + 9 * BAR, START + 10 * BAR)
        assert later[market].provenances == {}


def test_credits_are_kept_by_source_and_month(store: Store) -> None:
    may, june = parse_time("2024-05-31T23:59:59Z"), parse_time("2024-06-01")
    with store.write() as writer:
        writer.add_credits("coincap", may, 1, 13)
        writer.add_credits("coincap", june, 1, 12)
        writer.add_credits("coincap", june, 0, -11)
        writer.add_credits("other", june, 5, 5)
        writer.put_refusal("coincap", june, june + 7.5)
    with store.read() as reader:
        assert reader.credits(["coincap"], may)["coincap"] == Credits(1, 13, None)
        assert reader.credits(["coincap"], june + 86_400)["coincap"] == Credits(1, 1, june + 7.5)
        assert reader.credits(["nobody"], june)["nobody"] == Credits(0, 0, None)
    with store.write() as writer:
        writer.put_refusal("coincap", june, None)
        assert writer.credits(["coincap"], june)["coincap"] == Credits(1, 1, None)


def test_a_database_of_the_first_version_gets_the_tables_of_the_second(
    tmp_path: Path, market: Market, make_candles: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cryptocast.duckdb", 60)
    monkeypatch.setattr(schema, "CURRENT", 1)
    with store.write() as writer:  # as the first version wrote it: no ledger is touched
        writer.query(
            "INSERT INTO candles VALUES "
            "('bitvavo:BTC/EUR:5m', to_timestamp(?), 1, 2, 1, 2, NULL, 'live', now())",
            [START],
        )
    monkeypatch.setattr(schema, "CURRENT", 2)
    with store.read() as reader:
        assert reader.spans([market]).get(market) == Span(1, START, START)
        assert fillable_gaps(reader, {market: (START, START + 2 * BAR)})[market] == [
            Gap(START + BAR, START + 2 * BAR, 1)
        ]
        assert reader.credits(["coincap"], 0)["coincap"] == Credits(0, 0, None)
