"""A cube becomes an image of its specimen: masked, cropped, resized."""
