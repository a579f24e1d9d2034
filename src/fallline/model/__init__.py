"""ŷ = f(x; w): what is predicted. Nothing here knows an error, a row's source or a descent."""
