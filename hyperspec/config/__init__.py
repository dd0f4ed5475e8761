"""The typed config: schema, groups, composition."""
