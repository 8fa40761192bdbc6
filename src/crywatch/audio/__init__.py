"""Sound as arrays [samples] of float32 in -1..1, 16 kHz unless a name says otherwise.

``decode`` is the one reader of a user's recordings, ``encoding`` the one writer of compressed
sound; ``waves`` has rates, levels and channels, and reads and writes cleaned clips. ``segments``
has the plain second and the rate of all stages. ``mel`` are mel filters, ``envelope`` a spectral
envelope, ``activity`` and ``extents`` find where something sounds. ``joints`` joins waves by
crossfades, ``mixer`` renders soundscapes, ``rooms`` are impulse responses, ``channels`` what a
recording device and a telephone do to sound.
"""
