"""Races, kills, frozen and full machines, mutated input. Seeded: each prints its seed, `--seed` repeats it."""
