"""What is watched: sums and metrics."""
