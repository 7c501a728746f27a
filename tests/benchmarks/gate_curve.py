"""How often the gate promotes a challenger of known skill, by simulation.

    python tests/benchmarks/gate_curve.py [SERIES]

Prints a table: the true skill against the number of gate origins, and in each cell the share of
SERIES (default 1,000) simulated challengers that the default `[gate]` promotes. 312 origins are
what a user with 7 days has. Once against one opponent (the random walk serves), once against
two (it and production), whose noise is correlated 0.5: they share the challenger. Then a base
network against the random walk: it has shown `SHOWN` on candles that it had not learned from.
Once as it is, and once without the rule that origins which speak against it outweigh that (its
`high_here`).

The noise is that of the gate's statistic, the mean over 24 steps of the relative CRPS
difference. Each origin's is a moving average of the shocks of the next 24 bars, weighed as
overlapping targets of 1 to 24 steps share them; shocks have fat tails (Student's t, 5 degrees
of freedom) and volatility that clusters (a log-AR(1) with a half-life of 34 bars). Its scale
is set so that the standard error over 576 origins is the 1.3 % that was measured; then its
standard deviation an origin is 7.7 %, where 7.5 % was measured. Takes less than a minute.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from cryptocast import evaluation
from cryptocast.config import GateSettings
from cryptocast.values import FloatArray

HORIZON = 24
ORIGINS = (312, 2000)
SKILLS = (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02)
LONG_RUN = 0.013 * np.sqrt(576)  # standard deviation that the mean of N origins has, times sqrt(N)
SHOWN = 0.009  # skill of the shipped base network where it was not trained
SHARED = 0.5  # correlation of the noise against two opponents
_WARM_UP = 200


def noise(random: np.random.Generator, series: int, origins: int) -> FloatArray:
    """[series, origins] skill at each origin of a challenger that is as good as its opponent."""
    bars = _WARM_UP + origins + HORIZON - 1
    level = np.zeros((bars, series))
    jolts = random.normal(0, 0.1, (bars, series))
    for bar in range(1, bars):
        level[bar] = 0.98 * level[bar - 1] + jolts[bar]
    spread = 0.1**2 / (1 - 0.98**2)
    # exp(2 level) has the mean exp(2 spread): the shocks' variance becomes 1.
    shocks = random.standard_t(5, (bars, series)) * np.sqrt(3 / 5) * np.exp(level - spread)
    shocks = shocks[_WARM_UP:].T
    weights = _weights()
    parts = (w * shocks[:, j : j + origins] for j, w in enumerate(weights))
    return np.asarray(sum(parts) * (LONG_RUN / weights.sum()))


def promoted(
    skill: float, noises: list[FloatArray], rule: GateSettings, horizon: int = HORIZON
) -> float:
    """The share of series in which a challenger of that skill passes against every opponent.

    `noises` are [series, origins], an opponent each.
    """
    return _share(_compared(skill, noises, rule, horizon), rule)


def _compared(
    skill: float,
    noises: list[FloatArray],
    rule: GateSettings,
    horizon: int = HORIZON,
    prior: float | None = None,
) -> list[dict[str, evaluation.Comparison]]:
    """The gate's comparisons in each series. `prior` is the skill that was shown elsewhere."""
    return [
        {
            str(i): evaluation.compare_series("it", skill + one, horizon, rule, prior)
            for i, one in enumerate(series)
        }
        for series in zip(*noises, strict=True)
    ]


def _share(compared: list[dict[str, evaluation.Comparison]], rule: GateSettings) -> float:
    return float(np.mean([evaluation.decide(found, rule).promoted for found in compared]))


def against(random: np.random.Generator, opponents: int, series: int, n: int) -> list[FloatArray]:
    """The noise against each of several opponents, correlated by `SHARED`."""
    common = noise(random, series, n)
    if opponents == 1:
        return [common]
    own = (noise(random, series, n) for _ in range(opponents))
    return [np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * one for one in own]


def main(series: int) -> None:
    """Print the table."""
    rule = GateSettings(resamples=500)  # bounds differ from those of 2,000 by less than they vary
    print(f"{'challenger':<22} {'origins':>8}" + "".join(f"{skill:>+8.1%}" for skill in SKILLS))
    for opponents in (1, 2):
        for n in ORIGINS:
            noises = against(np.random.default_rng(n), opponents, series, n)
            _print(f"{opponents} opponent(s)", n, [promoted(s, noises, rule) for s in SKILLS])
    base_networks(series, rule)


def base_networks(series: int, rule: GateSettings) -> None:
    """Print the rows of a base network against the random walk."""
    for n in (48, *ORIGINS):
        noises = against(np.random.default_rng(n), 1, series, n)
        every = [_compared(skill, noises, rule, prior=SHOWN) for skill in SKILLS]
        _print("base network", n, [_share(compared, rule) for compared in every])
        without = [[{"0": replace(one["0"], high_here=None)} for one in each] for each in every]
        _print("base, rule off", n, [_share(compared, rule) for compared in without])


def _print(name: str, origins: int, shares: list[float]) -> None:
    cells = "".join(f"{share:>8.0%}" for share in shares)
    print(f"{name:<22} {origins:>8,}{cells}", flush=True)


def _weights() -> FloatArray:
    """[H] how much the shock of the j-th bar moves the mean over steps: the step h spreads its
    unit of noise over h bars.
    """
    step = np.arange(1, HORIZON + 1)
    return np.array([np.sum(1 / np.sqrt(step[step > j])) for j in range(HORIZON)]) / HORIZON


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
