"""What has a known answer: synthetic specimens, and checks of what plug-ins promise."""
