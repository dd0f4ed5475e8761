"""From a checkpoint to embeddings and scores of any folder."""
