"""What is told of an image to those who did not build it: what is in it, and how it came to be."""

URI = "https://imgbuild.org"
"""Where names of documents begin; labels begin with the same, turned round.

It is a name, not an address: nothing is fetched from there, and nothing need lie there (docs/attest.md).
"""
