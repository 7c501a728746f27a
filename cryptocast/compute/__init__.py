"""Computations from values alone, wherever they run: workers of an engine import this and rooms.

It opens no store and no MLflow: workflows read what it takes, and keep what it returns.
"""
