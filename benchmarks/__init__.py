"""Measurements of speed, beside a peer where there is one."""
