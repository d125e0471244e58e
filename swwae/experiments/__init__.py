"""Many runs that belong together: their jobs, their tables, their statistics."""
