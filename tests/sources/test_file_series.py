"""Which series a file is: by its name, by its column of markets; two series are never joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptocast.errors import ConfigError
from cryptocast.sources import _names
from cryptocast.sources._columns import market_value
from cryptocast.values import Market
from support.recorded import (
    BTC,
    START,
    csv_text,
    fails,
    page_of,
    read,
    rows_of,
    transposed,
)


def keep(folder: Path, name: str, *, start: int = START, price: float = 100.0, step: int = 300,
         bars: int = 12) -> Path:  # fmt: skip
    file = folder / name
    file.write_text(csv_text(rows_of(bars, start, step, price)), encoding="utf-8")
    return file


CONTRACTS = [
    "BTCUSDT_240628.csv",
    "BTCUSDT_PERP.csv",
    "BTC-USDT-SWAP.csv",
    "BTC-USDT-240329-5m.csv",
    "BTC_USDT_USDT-5m-futures.csv",
    "BTC_USDT_USDT.csv",
    "BTCUSDT.P.csv",
    "BTC-USDT-28JUN24.csv",
    "BTCUSDT-perpetual-5m-2024-06.csv",
    "BTCUSDT_quarterly.csv",
    "um-BTCUSDT-5m-2024-06.csv",
    "markPriceKlines-BTCUSDT-5m.csv",
    "BTC-USDT-bid.csv",
]


@pytest.mark.parametrize("later", [0, 86_400])
@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_is_never_joined_with_the_spot_market(
    tmp_path: Path, name: str, later: int
) -> None:
    keep(tmp_path, name, price=500, start=START + later)
    keep(tmp_path, "BTCUSDT.csv")
    page = page_of(tmp_path)
    assert page.candles.open.tolist() == transposed(rows_of())[1]
    (remark,) = page.remarks
    assert remark.startswith(f"{name} is left out: its name says ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kraken_BTC-USDT_5m.csv", "binance_BTC-USDT_5m.csv"),
        ("BTCUSDT.csv", "BTCUSDT_synthetic.csv"),
        ("BTC-USDT.csv", "BTC-USDT_v2.csv"),
        ("BTC-USDT-ask.csv", "BTC-USDT-bid.csv"),
        ("BTCUSDT_240628.csv", "BTCUSDT_240927.csv"),
        ("BTCUSDT.csv", "BTCUSDT_0628.csv"),
        ("BTCUSDT.csv", "BTCUSDT_тест.csv"),
    ],
)
def test_words_that_are_not_understood_make_another_series(
    tmp_path: Path, one: str, other: str
) -> None:
    keep(tmp_path, one)
    keep(tmp_path, other, start=START + 86_400, price=300)
    error = fails(tmp_path)
    assert (error.code, error.exit_code) == ("config.symbol", 2)
    assert one in error.message
    assert other in error.message
    assert error.message.endswith("say different series of BTC/USDT, which are never joined")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("BTCUSDT-5m-2024-06.csv", "BTCUSDT-5m-2024-07.csv"),
        ("BTC-USDT.csv", "BTC_USDT (1).csv"),
        ("binance_BTC-USDT_5m_20240601_20240602.csv", "binance_BTC-USDT_5m_20240602_20240603.csv"),
        ("BTCUSDT_part1.csv", "BTCUSDT_part2.csv"),
        ("BTC-USDT_ohlcv_2024Q1.csv", "BTC-USDT_ohlcv_2024Q2.csv"),
        ("x_BTCUSDT_202406.csv", "x_BTCUSDT_202407.csv"),
        ("BTC-USDT-1717200000-1717286400.csv", "BTC-USDT-1717286400-1717372800.csv"),
    ],
)
def test_parts_of_one_series_are_joined(tmp_path: Path, one: str, other: str) -> None:
    keep(tmp_path, one)
    keep(tmp_path, other, start=START + 86_400)
    page = page_of(tmp_path)
    assert (len(page.candles), page.remarks) == (24, ())


def test_a_contract_alone_is_taken_and_told(tmp_path: Path) -> None:
    keep(tmp_path, "BTC_USDT_USDT-5m-futures.csv")
    assert page_of(tmp_path).remarks == (
        "BTC_USDT_USDT-5m-futures.csv is taken for BTC/USDT, though its name says futures usdt",
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("BTCFDUSD", "BTC/FDUSD"),
        ("BTCTUSD", "BTC/TUSD"),
        ("ETHBUSD", "ETH/BUSD"),
        ("GRTUSD", "GR/TUSD or GRT/USD"),
        ("USDTUSD", "USDT/USD"),
        ("1000SHIBUSDT", "1000SHIB/USDT"),
        ("ethusdt", "ETH/USDT"),
        ("btc-usd", "BTC/USD"),
        ("eth_eur_5m", "ETH/EUR"),
        ("ETHBTC", "ETH/BTC"),
        ("SOLGBP", "SOL/GBP"),
        ("SUSDT", "S/USDT"),
        ("BTCPYUSD", "BTC/PYUSD"),
        ("binance_btc_usdt_5m", "BTC/USDT"),
        ("ETH-BTC-USDT", "ETH/BTC or BTC/USDT"),
        ("MATICUSDC-5m-2024-06", "MATIC/USDC"),
        ("LTC_BTC", "LTC/BTC"),
        ("xbteur_5", "BTC/EUR"),
    ],
)
def test_a_name_is_cut_where_a_quote_begins_and_two_cuts_are_asked_about(
    tmp_path: Path, name: str, said: str
) -> None:
    error = fails(keep(tmp_path, f"{name}.csv"), Market.of("DOGE/CHF", "file", "5m"))
    assert isinstance(error, ConfigError)
    assert error.message == f"{name}.csv holds {said}, not DOGE/CHF"
    assert error.hint == f"--symbol {said}, or a file of DOGE/CHF"


@pytest.mark.parametrize(
    "name",
    ["my_data_5m", "candles", "kraken_btc", "amateur", "country", "data_eth_5m", "export-eur",
     "history_usd", "BTC", "prices", "XBT", "try", "spot_usdt"],
)  # fmt: skip
def test_ordinary_words_are_no_pairs(tmp_path: Path, name: str) -> None:
    assert _names.pairs(f"{name}.csv") == ()
    assert len(read(keep(tmp_path, f"{name}.csv"))[0]) == 12


@pytest.mark.parametrize(
    "name",
    ["BTCUSDT-1h", "BTC-USDT_60m", "BTCUSDT_1hour", "BTC-USDT-daily", "Binance_BTCUSDT_d",
     "BTC-USDT_1D", "BTCUSDT_15M", "BTC-USDT 15 min", "my_data_4h", "BTCUSDT_hourly"],
)  # fmt: skip
@pytest.mark.parametrize("bars", [1, 3])
def test_a_file_of_another_interval_by_its_name_is_refused_however_few_its_rows(
    tmp_path: Path, name: str, bars: int
) -> None:
    error = fails(keep(tmp_path, f"{name}.csv", bars=bars))
    assert (error.code, error.exit_code) == ("config.interval", 2)
    assert "no file of BTC/USDT holds 5m by its name; there is " in error.message


@pytest.mark.parametrize("name", ["BTCUSDT_5min", "BTCUSDT-5m-7d", "BTCUSDT_5M", "BTCUSDT-24h"])
def test_the_interval_may_be_spelled_in_many_ways(tmp_path: Path, name: str) -> None:
    assert len(read(keep(tmp_path, f"{name}.csv", bars=2))[0]) == 2


def test_a_few_rows_of_another_interval_are_seen_where_the_name_says_none(tmp_path: Path) -> None:
    file = keep(tmp_path, "BTCUSDT.csv", bars=4, step=3600)
    assert fails(file).message == f"{file} holds a candle every 3600 s, not every 300 s (5m)"
    assert len(read(keep(tmp_path, "BTCUSDT-5m.csv", bars=4, step=3600))[0]) == 4


@pytest.mark.parametrize(
    ("values", "ours"),
    [
        (["btc/usdt", "eth/usdt"], "btc/usdt"),
        (["btcusdt", "ethusdt"], "btcusdt"),
        (["BTC/USDT", "BTC/USDT:USDT"], "BTC/USDT"),
        (["BTCTUSD", "ETHTUSD", "BTCUSDT"], "BTCUSDT"),
        (["spot"], None),
        ([], None),
    ],
)
def test_a_column_of_markets_is_understood(values: list[str], ours: str | None) -> None:
    assert market_value(Path("c.csv"), values, BTC) == ours


@pytest.mark.parametrize(
    "values",
    [
        ["BTC/USDT:USDT", "ETH/USDT:USDT"],
        ["btc/usdt:usdt"],
        ["ВТС/USDT", "ЕТН/USDT"],  # noqa: RUF001 - letters of another script are the point
        ["spot", "perp"],
        ["eth/usdt"],
        ["BTCUSDT", "BTCUSDT_240628"],
    ],
)
def test_markets_that_are_not_ours_or_not_understood_are_refused(values: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        market_value(Path("c.csv"), values, BTC)
    assert caught.value.code == "config.symbol"


TRADES = "id,price,qty,time,is_buyer_maker\n1,100.5,2,1717200000000,true\n"


@pytest.mark.parametrize("name", ["BTCUSDT-trades-2024-06.csv", "BTCUSDT-2024-06.csv"])
def test_trades_beside_candles_are_left_out_and_told(tmp_path: Path, name: str) -> None:
    trades = tmp_path / name
    trades.write_text(TRADES, encoding="utf-8")
    error = fails(trades)
    assert (error.code, error.exit_code) == ("source.trades", 4)
    assert error.message.startswith(f"{trades} holds trades, not candles")
    keep(tmp_path, "BTCUSDT-5m.csv")
    page = page_of(tmp_path)
    assert len(page.candles) == 12
    assert page.remarks[0].startswith(f"{name} is left out: ")
