"""The parts of a tick: bringing candles, forecast sets, the fallback ladder, the loop."""
