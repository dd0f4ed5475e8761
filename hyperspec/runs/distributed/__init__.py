"""One job on several processes."""
