"""The OpenAPI description: it holds whatever is asked, and is shown on a page of its own."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from api.conftest import HOME, SYMBOLS, Client, Serve
from cryptocast import schemas
from cryptocast.answers.models import ModelsDocument, VersionDocument, VersionScoreDocument
from cryptocast.api import children, data
from cryptocast.api.documents import ScoreDocument
from cryptocast.api.examples import of as example
from cryptocast.api.page import described
from cryptocast.workflows.learning.versions import VersionScore
from cryptocast.workflows.models import Entry, ModelsReport
from cryptocast.workspace import Workspace

SHARED = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
CHECKS = {
    GenerationMode.POSITIVE: (*SHARED, checks.positive_data_acceptance),
    GenerationMode.NEGATIVE: (*SHARED, checks.negative_data_rejection),
}
# What no schema can say: how parameters go together, and which symbols there are.
TOGETHER = {"usage.range", "usage.question", "usage.by", "usage.weights", "usage.horizon"}
TOGETHER |= {"usage.symbol", "config.symbol", "usage.level"}
ROUTES = (
    *("/markets", "/forecast", "/candles", "/scores", "/models", "/simulate", "/probability"),
    *("/status", "/healthz", "/metrics", "/report", "/stream"),
)
WITH_JSON = ROUTES[:9]
NOTHING_TO_ASK = ("/markets", "/models", "/healthz", "/metrics")
ASKED = [
    *((path, GenerationMode.POSITIVE) for path in ROUTES),
    *((path, GenerationMode.NEGATIVE) for path in ROUTES if path not in NOTHING_TO_ASK),
]


@pytest.fixture
def client(served: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A service whose child processes are played."""

    def told(_: Workspace, *words: str) -> object:
        if words[0] == "report":
            Path(words[2]).write_text("<html>")
        return example("/models")

    monkeypatch.setattr(data, "told", told)
    monkeypatch.setattr(children, "told", told)
    return serve(served)


def sent(client: Client, case: schemathesis.Case) -> httpx.Response:
    """The answer to a request that was made up, about a market that there is."""
    words = case.as_transport_kwargs(base_url=HOME)
    query = dict(words.get("params") or {})
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        query.pop("symbol", None)
        query["symbol"] = SYMBOLS[0]
    return client.send(words["method"], words["url"], query, dict(words.get("headers") or {}))


@cache
def schema(description: str) -> Any:
    """What Schemathesis makes of a description, once for all routes."""
    return schemathesis.openapi.from_dict(json.loads(description))


@pytest.mark.parametrize(("path", "mode"), ASKED)
def test_every_answer_is_as_described(client: Client, path: str, mode: GenerationMode) -> None:
    operation = schema(client.get("/openapi.json").text)[path]["GET"]

    @settings(
        max_examples=8, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(mode))
    def check(case: schemathesis.Case) -> None:
        response = sent(client, case)
        left_out = []
        if response.status_code in (404, 422) and response.json()["error"]["code"] in TOGETHER:
            left_out = [checks.positive_data_acceptance]
        case.validate_response(
            response, checks=[each for each in CHECKS[mode] if each not in left_out]
        )

    check()


def test_every_example_fits_its_schema(client: Client) -> None:
    described = client.get("/openapi.json").json()
    for path in WITH_JSON:
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        shown = content["application/json"]
        jsonschema.validate(shown["example"], {**shown["schema"], **strict(described)})


def strict(described: dict[str, Any]) -> dict[str, Any]:
    """The components, of which none may have a field more than described."""
    parts = described["components"]["schemas"].values()
    for part in parts:
        if "properties" in part:
            part["additionalProperties"] = False
    return {"components": described["components"]}


def test_answers_have_no_field_that_is_not_described(client: Client) -> None:
    described = client.get("/openapi.json").json()
    paths = {path: path for path in WITH_JSON} | {
        "/candles": f"/candles?symbol={SYMBOLS[0]}",
        "/probability": f"/probability?symbol={SYMBOLS[0]}&above=1&quantile=0.5&paths=10",
        "/simulate": "/simulate?paths=10&horizon=1h",
    }
    for path, asked in paths.items():
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        answer = client.get(asked).json()
        jsonschema.validate(answer, {**content["application/json"]["schema"], **strict(described)})


def test_every_field_and_parameter_is_explained(client: Client) -> None:
    described = client.get("/openapi.json").json()
    for name, part in described["components"]["schemas"].items():
        for field, node in part.get("properties", {}).items():
            assert node.get("description") or "$ref" in node, (name, field)
    for path, methods in described["paths"].items():
        assert methods["get"]["description"], path
        for parameter in methods["get"].get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])


def test_the_scores_are_those_of_the_schema_that_rooms_agree_on() -> None:
    assert set(schemas.SCORES.names()) == set(ScoreDocument.__annotations__) - {"in_sample"}


def test_the_models_are_those_of_the_report() -> None:
    for report, document in (
        (ModelsReport, ModelsDocument),
        (Entry, VersionDocument),
        (VersionScore, VersionScoreDocument),
    ):
        names = [field.name for field in dataclasses.fields(report)]
        assert names == list(document.__annotations__)


def test_the_page_shows_every_route_and_loads_nothing(client: Client) -> None:
    page = client.get("/").text
    for path in ROUTES:
        assert f'<h2 id="{path}">GET <a href="{path[1:]}">' in page  # also below a proxy's path
    assert not re.search(r"\ssrc=|<script|<link|@import|url\(|https?://", page)
    assert "CRPS of log-returns, in basis points" in page


def test_the_page_escapes_what_it_shows() -> None:
    bad = "<script>alert(1)</script>"
    route = {"description": bad, "responses": {"200": {"content": {bad: {"example": bad}}}}}
    schema = {
        "info": {"title": bad, "version": bad, "description": bad},
        "paths": {bad: {"get": route}},
    }
    assert "<script" not in described(schema)
