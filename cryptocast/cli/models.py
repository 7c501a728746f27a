"""cryptocast models."""

from __future__ import annotations

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, number, percent, table

NAME = "models"
EXAMPLE = "cryptocast models --json"


def command(run: Run) -> Answer:
    """List the registered versions with their aliases and scores."""
    from cryptocast.values import iso
    from cryptocast.workflows.models import models

    with run.open() as ws:
        report = models(ws)
    data = {
        "production": report.production,
        "versions": [
            {
                "version": v.version,
                "kind": v.kind,
                "aliases": list(v.aliases),
                "created_at": iso(round(v.created_at)),
                "run_id": v.run_id,
                "metrics": dict(v.metrics),
            }
            for v in report.versions
        ],
    }
    columns = ("version", "kind", "aliases", "made", "CRPS bp", "vs walk")
    rows = [
        [
            v.version,
            v.kind,
            ", ".join(v.aliases) or "-",
            iso(round(v.created_at))[:16] + "Z",
            number(v.metrics.get("validation_crps_bp"), 3),
            percent(v.metrics.get("test_skill_vs_random_walk"), 2),
        ]
        for v in report.versions
    ]
    return Answer(data, lambda console: console.print(table("Models", columns, rows)))
