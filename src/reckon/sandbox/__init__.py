"""Where code runs that may hang, crash or mean harm: a pool of killable workers, and a jail."""
