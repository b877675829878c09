"""Metrics, scores and tables of predicted motion."""
