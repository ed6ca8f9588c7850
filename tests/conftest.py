"""What one test sets for its process ends with it."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_store_outlives_its_test():
    """MLflow keeps the address that it was given last, for the process and in its environment."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
