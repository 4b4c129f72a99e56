"""A client for registries (OCI distribution-spec 1.1); docstrings name the section that a rule is from.

address    what images are called there
logins     who we are there: files that docker and podman write, and their helpers
tokens     what a registry wants to see of that
session    one registry: requests, again where that may help
content    reading: manifests, tags, blobs, referrers
uploads    writing: blobs, manifests, referrers
"""
