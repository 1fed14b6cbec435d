"""The rungs of the parity ladder, one file each: a check from the workbench to a finding."""
