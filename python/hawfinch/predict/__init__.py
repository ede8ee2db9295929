"""Prediction: rows stream through a model."""
