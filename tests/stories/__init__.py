"""Whole conversations over HTTP and stdio, as a session or a person would have them."""
