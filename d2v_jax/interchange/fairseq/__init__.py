"""The files that fairseq and the vision release have published."""
