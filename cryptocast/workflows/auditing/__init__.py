"""Check that a model is honest: by perturbation, by placebo, and on origins it never saw."""
