"""Malformed input of every kind: each gets its answer. Seeded grammars; atheris at night."""
