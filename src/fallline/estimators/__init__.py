"""The scikit-learn face: estimators that validate, call the core and store what it found."""
