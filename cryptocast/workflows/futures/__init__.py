"""What verbs share about simulated paths."""
