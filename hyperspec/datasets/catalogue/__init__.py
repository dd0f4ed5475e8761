"""A folder becomes a table: files, labels, checksums, problems."""
