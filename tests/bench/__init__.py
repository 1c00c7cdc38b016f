"""`python -m tests.bench`: what it costs, against denominators measured in the same run."""
