"""The report's page: whole in itself, unbroken by what it shows, and looked at in a browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError

from cryptocast.display import between, moment, skill, span, typeset_percent
from cryptocast.reports import _data
from cryptocast.reports.facts import pairs
from cryptocast.reports.page import MOST_SECTIONS, _library, _templates, render
from cryptocast.values import Candles, ForecastSet, Market
from support import browser
from support.pages import (
    BAR,
    LEVELS,
    MARKET,
    START,
    calibration,
    candles,
    facts,
    forecast,
    incidents,
    market,
    outcomes,
)

EVIL = "<script>alert(1)</script>"
DAY_BARS = 288


class Read(HTMLParser):
    """A page as elements: their attributes, the text inside scripts, and the text as shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._script = False
        self.feed(page)
        self.text = re.sub(r"[ \n]+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and self.tags[-1][0] == "script":
            self.scripts[-1] += data
        elif not self._script:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render(facts())


def test_a_market_has_every_picture_and_each_says_what_it_shows(page: str) -> None:
    read = Read(page)
    pictures = [a["data-picture"] for a in read.all("div") if "data-picture" in a]
    assert pictures == [
        "price", "cone", "actual", "skill", "steps", "width", "coverage-step", "coverage-hour",
        "pit", "reliability", "incidents",
    ]  # fmt: skip
    labels = [a["aria-label"] for a in read.all("div") if a.get("role") == "img"]
    assert len(labels) == len(pictures)
    assert all(label and len(label) > 40 for label in labels)
    assert read.text.count("Now: ") == len(read.all("figure"))


def test_simulated_paths_have_a_cone_and_their_answers_are_held_against_what_came(
    page: str,
) -> None:
    text = Read(page).text
    assert "of the paths lie between" in text
    assert "Simulated paths of 70 origins from 2024-05-30T00:00:00Z" in text
    assert "its scores are too good" in text
    assert "touch31.0 %29.0 %70" in text.replace("\N{NO-BREAK SPACE}", " ")
    none = Read(render(facts(market(cone=None), paths=None))).text
    assert "Whole futures" not in none


def test_the_top_says_how_it_is_today(page: str) -> None:
    text = Read(page).text
    assert (
        "healthy The monitor's verdict of 2024-06-05 23:50Z (10\N{NO-BREAK SPACE}min ago)" in text
    )
    assert "skill +1.0 % in the last week" in text
    for figure in ("version 2", "+1.00\N{NO-BREAK SPACE}%", "79.0\N{NO-BREAK SPACE}%"):
        assert figure in text


def test_nothing_leads_outside_and_only_its_own_scripts_may_run(page: str) -> None:
    read = Read(page)
    own = page.replace(_library(), "")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", own)
    for _, attributes in read.tags:
        assert not {"src", "srcset", "action", "onclick", "onload"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    (policy,) = [a["content"] or "" for a in read.all("meta") if "http-equiv" in a]
    run = [s for s, a in zip(read.scripts, read.all("script"), strict=True) if "type" not in a]
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in run]
    assert policy.startswith("default-src 'none'; script-src " + " ".join(
        f"'sha256-{h}'" for h in hashes))  # fmt: skip
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_it_can_be_used_without_a_mouse_and_without_pictures(page: str) -> None:
    read = Read(page)
    assert read.all("a")[0] == {"class": "skip", "href": "#main"}
    assert all(b["type"] == "button" for b in read.all("button"))
    assert len(read.all("input")) == 3
    assert read.tags[0][0] == "html" or read.all("html")[0]["lang"] == "en"
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert len(read.all("caption")) == len(read.all("table")) >= 9
    assert "The pictures need scripts" in page


@pytest.mark.parametrize("bad", [EVIL, "</script><img src=x onerror=alert(1)>", "<!--", '"><b>'])
def test_names_and_reasons_from_data_are_only_ever_text(bad: str) -> None:
    named = Market("sim", bad, bad, "5m")
    one = market(
        of=named,
        newest=forecast(START + 864 * BAR, named, fallback=bad),
        incidents=tuple(dataclasses.replace(i, detail=bad) for i in incidents()),
    )
    made = facts(one, market(), workspace=bad, others=[bad])
    made = dataclasses.replace(
        made,
        deployments=[
            dataclasses.replace(d, reason=bad, model_version=bad) for d in made.deployments
        ],
        events=[dataclasses.replace(e, kind=bad, detail={bad: bad}) for e in made.events],
        verdict=dataclasses.replace(made.verdict, reason=bad, verdict=bad),  # type: ignore[type-var]
    )
    spoiled, plain = Read(render(made)), Read(render(facts(market(), market())))
    assert [name for name, _ in spoiled.tags].count("script") == 4
    assert not spoiled.all("img")
    assert not spoiled.all("b")
    assert len(spoiled.tags) == len(plain.tags)
    assert bad in spoiled.text
    data = json.loads(spoiled.scripts[0])
    assert (data["quote"], data["incidents"][0][4]) == (bad, bad)


def test_json_ends_no_script_and_holds_no_nan() -> None:
    data = _templates().from_string("<script>{{ data | tojson }}</script>")
    assert data.render(data={"a": "</script><!--&"}) == (
        '<script>{"a":"\\u003c/script\\u003e\\u003c!--\\u0026"}</script>'
    )
    with pytest.raises(ValueError, match="Out of range float values"):
        data.render(data=float("nan"))


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_figure_that_is_unknown_is_null() -> None:
    found = outcomes(864, skill=None)
    data = strict(Read(render(facts(market(outcomes=found)))).scripts[0])
    assert data["skill"]["total"] is None
    assert data["coverage"]["hour"]["share80"][3] is None
    assert data["served"]["steps"][2]["actual"][-1] is None


def test_thirty_days_of_a_market_stay_below_eight_megabytes() -> None:
    n = 30 * DAY_BARS
    assert len(render(facts(market(n), n=n)).encode()) < 8e6


def test_a_year_and_many_markets_are_thinned() -> None:
    n = 365 * DAY_BARS
    year = market(DAY_BARS, candles=candles(n), outcomes=outcomes(n))
    assert len(render(facts(year, n=n)).encode()) < 8e6
    names = [Market("sim", f"C{i}", "EUR", "5m") for i in range(MOST_SECTIONS + 3)]
    n = 10 * DAY_BARS
    one = market(n)
    many = render(facts(*(dataclasses.replace(one, market=name) for name in names), n=n))
    assert len(many.encode()) < 8e6
    read = Read(many)
    assert len([a for a in read.all("section") if a.get("class") == "market"]) == MOST_SECTIONS
    assert f"All {len(names)} markets, worst skill first. The {MOST_SECTIONS} worst" in read.text
    assert all(name.id in read.text for name in names)


def test_merged_candles_keep_the_newest_and_the_range_of_the_old() -> None:
    given = candles(30 * DAY_BARS)
    merged = _data.merge(given, BAR, 2000)
    fine = given.open_time > given.open_time[-1] - 3 * 86_400
    assert 1000 < len(merged) <= 2001
    assert np.array_equal(merged.close[-fine.sum() :], given.close[fine])
    assert (merged.high.max(), merged.low.min()) == (given.high.max(), given.low.min())
    assert merged.open[0] == given.open[0]
    assert _data.merge(given, BAR, 10_000) is given


def test_ranges_are_drawn_that_the_levels_hold() -> None:
    assert [pair[0] for pair in pairs(LEVELS)] == [0.9, 0.8, 0.5]
    assert pairs((0.25, 0.5, 0.75)) == [(0.5, 0, 2)]


def test_a_wide_forecast_is_held_against_a_wild_move() -> None:
    groups = _data.width(outcomes(864), 1)
    assert groups is not None
    assert groups["forecast"] == sorted(groups["forecast"])
    assert groups["actual"][-1] > 1.5 * groups["actual"][0]
    assert _data.width(outcomes(40), 1) is None


def late() -> ForecastSet:
    """The newest forecast, which came too late to be scored."""
    newest = forecast(START + 864 * BAR)
    return dataclasses.replace(newest, mode="late", issued_at=newest.origin + 240)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"newest": None, "outcomes": None}, "There is no forecast yet."),
        (
            {"newest": None, "outcomes": None},
            "Type cryptocast forecast --once or, to replay the past",
        ),
        (
            {"newest": late(), "outcomes": None},
            "is not scored: it was issued 4\N{NO-BREAK SPACE}min after its close (late), and only "
            "forecasts made on time count. Type cryptocast schedule --install",
        ),
        ({"candles": Candles.empty()}, "There are no candles in this range: type cryptocast fetch"),
        ({"candles": candles(1), "newest": None, "outcomes": None}, "The last price is 60,000.00"),
        ({"incidents": (), "ticks": {}, "gaps": ()}, "Nothing went wrong. 0 ticks in this range"),
    ],
)
def test_what_is_not_there_yet_is_told_with_what_to_type(
    changes: dict[str, Any], words: str
) -> None:
    assert words in Read(render(facts(market(**changes)))).text


def test_no_verdict_no_production_and_no_actuals_are_told() -> None:
    found = outcomes(1)
    found = dataclasses.replace(
        found, total=dataclasses.replace(found.total, n=0), targets=np.full((1, 24), np.nan)
    )
    made = facts(market(outcomes=found), verdict=None, deployments=[], events=[])
    text = Read(render(made)).text
    assert "The monitor has given no verdict yet: type cryptocast monitor." in text
    assert "1 forecast made, and no outcome is known yet" in text
    assert "the first is due at 2024-06-03 00:05Z" in text
    assert "No version is in production: type cryptocast init." in text
    assert "No events were recorded in this range." in text
    assert text.count("no outcome is known yet") == 2


@pytest.mark.parametrize(("forecasts", "judged"), [(2, False), (864, True)])
def test_two_forecasts_are_no_reason_to_call_the_ranges_wide_or_narrow(
    forecasts: int, judged: bool
) -> None:
    text = Read(render(facts(market(outcomes=outcomes(forecasts))))).text
    unsure = "There are too few outcomes yet to say whether the ranges are too wide or too narrow."
    assert (unsure in text) is not judged


def test_replayed_scores_are_called_so() -> None:
    text = Read(render(facts(market(outcomes=outcomes(864, mode="replay"))))).text
    assert "864 forecasts made by replay (none has been served live yet)" in text


def test_figures_are_written_as_people_read_them() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert typeset_percent(-0.0123, 2, sign=True) == f"\N{MINUS SIGN}1.23{space}%"
    assert typeset_percent(-0.00001, 2, sign=True) == f"0.00{space}%"
    assert typeset_percent(None) == typeset_percent(float("nan")) == "-"
    assert [span(s) for s in (20, 300, 5400, 7200, 86_400, 172_800)] == [
        f"20{space}s", f"5{space}min", f"1.5{space}h", f"2{space}h", f"24{space}h",
        f"2{space}days",
    ]  # fmt: skip


def test_an_unknown_figure_is_a_dash_and_a_known_interval_has_signs() -> None:
    assert between(None, 0.1) == between(0.1, float("nan")) == skill(None) == "-"
    assert between(-0.01, 0.02) == f"{skill(-0.01)} to {skill(0.02)}"
    assert moment(START + 61.5) == "2024-06-03 00:01Z"


def test_a_table_escapes_what_stands_in_it_and_knows_its_words() -> None:
    source = """{% from "macros.html" import table %}
{% call table("of <a>", ["x", "<y>"], words=["<y>"]) %}<tr><td>{{ cell }}</td></tr>{% endcall %}"""
    made = _templates().from_string(source).render(cell="<i>")
    assert '<th scope="col" class="words">&lt;y&gt;</th>' in made
    assert "<td>&lt;i&gt;</td>" in made
    assert "<caption>of &lt;a&gt;</caption>" in made
    assert 'aria-label="of &lt;a&gt;"' in made


def test_a_name_that_no_template_knows_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'forgotten' is undefined"):
        _templates().from_string("{{ forgotten }}").render()


def test_chance_shrinks_with_what_is_known() -> None:
    few, many = (_data.chance(LEVELS, alone) for alone in (100.0, 10_000.0))
    assert few == pytest.approx(10 * many)
    assert calibration(1).between.sum() == pytest.approx(1)


# In a browser.


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    if browser.CHROMIUM is None:
        pytest.skip(browser.ABSENT)
    with browser.browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two markets, one with a name that tries to run."""
    made = tmp_path_factory.mktemp("page") / "report.html"
    evil = market(of=Market("sim", EVIL, "EUR", "5m"))
    made.write_text(render(facts(market(), evil)), encoding="utf-8")
    return made


@pytest.fixture
def shown(chromium: browser.Browser, file: Path) -> browser.Browser:
    """That page, just opened from its file."""
    chromium.events.clear()
    chromium.shape(1200, 900)
    chromium.open(file.as_uri())
    return chromium


DRAWN = "[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg.main-svg'))"
PRICE = "document.querySelector('.plot.price')"


def test_every_picture_is_drawn_without_a_complaint_or_a_request(shown: browser.Browser) -> None:
    shown.shape(1200, 20_000)
    shown.until(DRAWN)
    assert shown.tell("document.querySelectorAll('.plot').length") == 22
    assert shown.tell(f"{PRICE}.querySelectorAll('path.box').length") > 200
    assert shown.complaints() == []
    assert not [e for e in shown.events if e["method"] == "Page.javascriptDialogOpening"]
    assert [url[:5] for url in shown.requests()] == ["file:"]


def test_hovering_shows_a_value_and_zooming_other_candles(shown: browser.Browser) -> None:
    shown.tell(f"{PRICE}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    shown.until(f"{PRICE}.querySelector('path.box') !== null")
    left, top, width, height = shown.tell(
        f"(r => [r.left, r.top, r.width, r.height])({PRICE}.getBoundingClientRect())"
    )
    shown.move(left + 0.4 * width, top + 0.5 * height)
    shown.move(left + 0.5 * width, top + 0.5 * height)
    told = f"{PRICE}.querySelector('.hoverlayer').textContent"
    shown.until(f"{told}.includes('close')")
    assert re.search(r"forecast 5.min before: 90.% from [\d,.]+ to [\d,.]+", shown.tell(told))
    assert re.search(r"candle from \d\d:\d\d: open [\d,.]+", shown.tell(told))
    day = shown.tell(f"{PRICE}.querySelectorAll('path.box').length")
    shown.tell("document.querySelector('button[data-hours=\"6\"]').click()")
    assert shown.tell(f"{PRICE}.querySelectorAll('path.box').length") < day / 2
    shown.tell("document.querySelector('input[value=\"2\"]').click()")
    assert "2\N{NO-BREAK SPACE}h before" in shown.tell(f"{PRICE}.textContent")
    assert shown.complaints() == []


def test_dark_follows_the_system_and_the_button(shown: browser.Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = f"{PRICE}.layout.font.color"
    shown.until(f"{PRICE}.layout !== undefined")
    light = shown.tell(paper), shown.tell(ink)
    shown.shape(1200, 900, dark=True)
    shown.until(f"{ink} !== '{light[1]}'")
    assert shown.tell(paper) != light[0]
    shown.tell("document.getElementById('theme').click()")
    assert (shown.tell(paper), shown.tell(ink)) == light
    shown.tell("localStorage.clear()")


def test_a_phone_needs_no_scrolling_sideways_and_the_keyboard_leads_in(
    shown: browser.Browser,
) -> None:
    shown.shape(360, 740, phone=True)
    shown.until(f"{PRICE}.querySelector('path.box') !== null")
    assert shown.tell("document.documentElement.scrollWidth") == 360
    shown.key("Tab")
    assert shown.tell("document.activeElement.className") == "skip"
    shown.key("Tab")
    assert shown.tell("document.activeElement.id") == "theme"
    assert shown.complaints() == []


def test_the_market_of_a_page_is_the_one_of_its_data(page: str) -> None:
    data = strict(Read(page).scripts[0])
    assert (data["symbol"], data["interval"]) == (MARKET.symbol, BAR)
    assert len(data["candles"]["t"]) == 864
