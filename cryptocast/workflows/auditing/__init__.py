"""Whether a model is honest: perturbation, placebo, origins that it never saw."""
