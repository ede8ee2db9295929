"""What a plan runs on: buffers, and the checks of a run's settings."""
