"""An image held against the ordinary way of installing the same packages."""
