"""What a person looks at before training: check, info, pictures."""
