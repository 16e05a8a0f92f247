"""What one training step means, one file for each family of methods."""
