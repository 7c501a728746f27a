"""The pipelines as flows of Prefect (extra `prefect`): the only room that imports it.

Each module is one flow. The workflows are imported inside the flows' bodies, because the process
that waits for scheduled runs imports these modules too, and would otherwise hold MLflow in memory.
"""
