"""Sound as arrays: decoding, segments, extents, rooms, mixing and recording channels."""
