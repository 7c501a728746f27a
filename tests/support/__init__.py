"""Worlds that tests are run in: servers on loopback, synthetic candles, workspaces, damage."""
