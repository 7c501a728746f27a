"""A limit in time for each market, as a table that statements join."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS = """(
    SELECT unnest($markets::VARCHAR[]) AS market, unnest($moments::BIGINT[]) AS moment
) AS l"""
"""The table `l` of `market` and `moment` (Unix seconds), of what `parameters` gives."""


def parameters(limits: Mapping[str, int]) -> dict[str, object]:
    """What `LIMITS` is filled with."""
    return {"markets": list(limits), "moments": list(limits.values())}
