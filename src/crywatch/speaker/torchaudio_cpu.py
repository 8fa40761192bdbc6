"""torchaudio beside a CPU build of torch, for SpeechBrain's sake.

SpeechBrain imports torchaudio. The package index has builds of torchaudio whose compiled part links
CUDA's libraries; CPU builds of torch lack them, and the import fails. ECAPA-TDNN uses nothing
compiled: with a stand-in for the module that loads it, the Python part imports.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

EXTENSION = "torchaudio._extension"


def prepare() -> bool:
    """Make ``import torchaudio`` work; to be called before SpeechBrain is imported.

    True where the stand-in is in use. Does nothing where torch has CUDA or torchaudio loads as it
    is, and may be called again.

    Raises
    ------
    ImportError
        torchaudio is not installed, or fails for a reason other than its compiled part.
    """
    if "torchaudio" in sys.modules:
        return sys.modules.get(EXTENSION) is _STAND_IN
    import torch

    if torch.version.cuda is not None:
        return False
    try:
        importlib.import_module("torchaudio")
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError, RuntimeError):
        # Parts of the failed import stay behind and would be taken for loaded ones.
        for name in [name for name in sys.modules if name.startswith("torchaudio.")]:
            del sys.modules[name]
        sys.modules[EXTENSION] = _STAND_IN
        try:
            importlib.import_module("torchaudio")
        except BaseException:
            del sys.modules[EXTENSION]
            raise
        return True
    return False


def prepare_speechbrain() -> None:
    """`prepare`, and SpeechBrain's redirects of old names out of ``sys.modules``.

    They import optional packages (k2, flair) as soon as anything looks at them, and tools that
    walk through all loaded modules do: `inspect.getmodule`, and hypothesis through it.
    """
    prepare()
    import speechbrain  # noqa: F401  # registers the redirects
    from speechbrain.utils.importutils import LazyModule

    # By type and over a copy: to ask a lazy module for its class imports something, as another
    # thread may at any time, and the dictionary would change while it is walked.
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), LazyModule):
            del sys.modules[name]


def _stand_in() -> ModuleType:
    """What torchaudio asks of its extension, with every compiled part said to be absent."""
    module = ModuleType(EXTENSION, "Stands for the compiled part of torchaudio.")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=lambda function: function,
        _check_cuda_version=lambda: None,
    )
    return module


_STAND_IN = _stand_in()
