"""What happens to images on the device: views and normalisation."""
