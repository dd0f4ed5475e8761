"""Views and normalisation: what happens to images on the device."""
