"""Who vouches for an image: keys, and what they sign, in cosign's forms."""
