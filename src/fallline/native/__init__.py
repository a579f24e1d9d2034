"""Native functions, called through ctypes so that other threads go on meanwhile."""
