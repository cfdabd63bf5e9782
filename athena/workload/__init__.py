"""Workloads: models of real shapes to simulate."""
