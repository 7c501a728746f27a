"""Documents that `--json` prints and the HTTP service returns, each with its units.

A document is a TypedDict beside the function that makes it: type checkers hold the function to
it, and the OpenAPI description is made of it. All times are ISO 8601 in UTC, all prices in the
quote currency.
"""
