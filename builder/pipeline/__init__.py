"""The table of contents: what each command does, as lists of steps."""
