"""Pictures of figures that others computed: PNG bytes for MLflow and pages, text for a terminal."""
