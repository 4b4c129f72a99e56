"""A deployment → plain Kubernetes objects, as a person would have written them."""
