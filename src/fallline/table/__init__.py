"""x, y: files and data frames to columns, columns to numbers and back."""
