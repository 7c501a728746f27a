"""What every command shares: the common options, the answer, and how it is shown."""
