"""What a tick is made of: bringing candles, forecast sets, the fallback ladder, the loop."""
