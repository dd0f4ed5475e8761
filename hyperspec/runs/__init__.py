"""One job: its context, identity, execution, and what it needs."""
