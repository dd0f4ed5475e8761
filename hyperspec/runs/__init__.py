"""One job: context, identity, execution, resume, what it needs."""
