"""From the runs of a sweep to tables, tests, charts and a page."""
