"""What is watched: sums and metrics, and the alerts that tell a person."""
