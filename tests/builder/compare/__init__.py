"""Comparing with the ordinary way."""
