"""What must hold for every sequence of operations, not for the ones somebody thought of."""
