"""A real one-node Kubernetes of Debian 12's source package, without systemd: built once, up in some twelve seconds."""
