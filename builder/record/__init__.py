"""The record: an index of releases, of what they hold, and of when advisories were first seen. Never the only truth."""
