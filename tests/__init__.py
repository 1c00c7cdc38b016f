"""The tests. `python -m tests` runs them; `tests/__main__.py` says what the selections are."""
