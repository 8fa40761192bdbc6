"""What is to be said of a recording that was read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """Of a whole file."""

    truncated: bool = False  # it breaks off: nothing later decodes
    damaged_s: float = 0.0  # silence stands for what does not decode
    gap_s: float = 0.0  # silence stands where its time stamps leave time
    remarks: tuple[str, ...] = ()

    def notes(self, duration_s: float, taken: str) -> list[str]:
        """Sentences for a user, none for a sound file; it was ``taken`` (scored, embedded)."""
        notes = []
        if self.truncated:
            notes.append(f"the file breaks off; the {duration_s:g} s before that are {taken}")
        if self.damaged_s:
            notes.append(f"{self.damaged_s:g} s are damaged: they are {taken} as silence")
        if self.gap_s:
            notes.append(f"gaps of {self.gap_s:g} s in its time are {taken} as silence")
        return [*notes, *self.remarks]
