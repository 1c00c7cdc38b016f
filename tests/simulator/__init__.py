"""The domain and the store under one seeded scheduler with a virtual clock: many peers, many faults, whole days."""
