"""What a curve must beat: features and classifiers that no contrastive training has touched."""
