"""Advisories × locks → what is open in which image and layer, and what would close it."""
