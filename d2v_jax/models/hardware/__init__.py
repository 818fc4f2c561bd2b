"""The devices: what each platform computes with, and where arrays live."""
