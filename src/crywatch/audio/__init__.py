"""Sound as arrays [samples] of float32 in -1..1, 16 kHz unless a name says otherwise.

``decode`` is the one reader of audio files, ``encoding`` the one writer of compressed ones;
``segments`` has the plain second and the rates. ``mel`` are mel filters, ``envelope`` a spectral
envelope, ``activity`` and ``extents`` find where something sounds. ``joints`` joins waves by
crossfades, ``mixer`` renders soundscapes, ``rooms`` are impulse responses, ``channels`` what a
recording device and a telephone do to sound.
"""
