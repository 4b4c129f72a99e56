"""Images → containers that run by what the images declare of themselves."""
