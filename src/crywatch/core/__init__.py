"""What every room stands on; nothing here knows of sound.

Files and values: ``atomic`` (all of a file or nothing), ``digest``, ``errors``, ``gate`` (what
others can write, checked before it is used), ``lock``, ``paths`` (where each stage writes),
``models`` (model folders), ``charts`` and ``det_axes`` (figures), ``progress``. The project:
``params`` (the one reader of params.yaml), ``project`` (its root), ``git``, ``code`` (which code a
stage stands on), ``extras`` (which extra holds a missing package), ``redact`` (secrets).
Repeatability: ``seeds`` and ``threads``.
"""
