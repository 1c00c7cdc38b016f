"""What a coding client runs at its events: mail in, locks held. As light as `agent`: see `tests/test_startup.py`."""
