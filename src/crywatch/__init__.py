"""crywatch: infant cry detection and per-infant cry baselines as one DVC pipeline.

Its public names are `load_detector` and `Infants`; each is imported when it is first asked for.

>>> from crywatch import load_detector
>>> detector = load_detector()  # what a rebuild made, or the released one; or a model folder
>>> detection = detector.detect("night.wav")  # or samples: detector.detect(wave, rate_hz=44_100)
>>> [second.cry for second in detection.seconds]
[0.5, 0.5, 0.5]
>>> [(event.onset_s, event.offset_s) for event in detection.events]
[(0.0, 3.0)]

The rooms, from the top floor down; each imports from those below it: ``cli``, ``operations``,
``report``, ``infants``, ``speaker``, ``evaluation``, ``detection``, ``tracking``, ``metrics``,
``data``, ``corpora``, ``audio``, ``core``.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crywatch.detection.released import load_detector
    from crywatch.infants.enrolment.infants import Infants

__all__ = ["Infants", "load_detector"]
__version__ = "0.1.0"

# Before torch is loaded: OpenMP threads that wait sleep. Where others use the machine too, spinning
# made a training step on two threads ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Before ONNX Runtime is loaded, which would keep an id of the device and events to be sent to its
# maker. Set it to 0 to let it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Infants": "crywatch.infants.enrolment.infants",
    "load_detector": "crywatch.detection.released",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        from crywatch.core.extras import advice

        error.add_note(advice(error) or "")
        raise
