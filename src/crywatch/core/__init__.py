"""What every room stands on: errors, atomic files, digests, parameters, secrets, model folders."""
