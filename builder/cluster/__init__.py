"""A Kubernetes cluster: its API, and what its objects say of how they are."""
