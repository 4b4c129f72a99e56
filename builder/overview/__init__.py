"""What a fleet looks like: values, and the page that shows them."""
