"""Spec, plan, network shapes, lifecycle and errors: plain Python and pydantic, no I/O."""
