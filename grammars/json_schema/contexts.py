"""The stacks of frames, as numbers.

A context is a linked list: the frame on top, and the context around it. Where names or items must not be written
twice, it also holds what has been written of them: the *tape*, all bytes since the outermost such name or item began,
and for each frame the *mark*, where on the tape its own name or item began. A context without tape is the same stack
as the tables lead to it: they know no text.

Comes in: frames. Goes out: numbers, the same for the same stack. Knows no bytes of JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from grammars.json_schema.frames import Frame

ROOT, ENDED = 0, 1
"""The contexts around the whole text: before it has ended, and after."""
NO_MARK = -1
UNKNOWN = -1


@dataclass(slots=True, eq=False)
class Context:
    """around: the context around the frame's array or object, without tape. bare: this context without tape.

    core: see `Contexts.core`; UNKNOWN before it is asked for.
    pending: whether something in the stack was written and is not known yet.
    recording: whether something in the stack is being recorded, so that a tape is wanted.
    settled: whether all frames in the stack are.
    """

    around: int
    frame: Frame
    mark: int
    tape: bytes | None
    bare: int
    core: int
    pending: bool
    recording: bool
    settled: bool = True


class Contexts:
    """All contexts of one automaton."""

    def __init__(self, root: Frame) -> None:
        self.entries = [
            Context(-1, root, NO_MARK, None, ROOT, ROOT, False, False),
            Context(-1, root, NO_MARK, None, ENDED, ENDED, False, False),
        ]
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._on_tape: dict[tuple[int, bytes], int] = {}

    def __getitem__(self, number: int) -> Context:
        return self.entries[number]

    def number(self, around: int, frame: Frame, mark: int = NO_MARK) -> int:
        """The context of a frame on top of others, without tape. `around` may have one; it is left out."""
        below = self.entries[around]
        around = below.bare
        key = (around, frame.number, mark)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.entries)
            pending = frame.pending or below.pending or (frame.records and mark == NO_MARK)
            recording = mark != NO_MARK or below.recording
            settled = frame.settled and below.settled
            self.entries.append(Context(around, frame, mark, None, number, UNKNOWN, pending, recording, settled))
        return number

    def on_tape(self, number: int, tape: bytes) -> int:
        """The context that is as `number` is, but for its tape."""
        here = self.entries[number]
        key = (here.bare, tape)
        taped = self._on_tape.get(key)
        if taped is None:
            taped = self._on_tape[key] = len(self.entries)
            self.entries.append(
                Context(
                    here.around,
                    here.frame,
                    here.mark,
                    tape,
                    here.bare,
                    UNKNOWN,
                    here.pending,
                    here.recording,
                    here.settled,
                )
            )
        return taped

    def core(self, number: int) -> int:
        """The context that has the same masks, and no tape, no marks, and the frames' `plain` ones."""
        path = []
        while (core := self.entries[number].core) == UNKNOWN:
            path.append(number)
            number = self.entries[number].around
        for number in reversed(path):
            here = self.entries[number]
            is_core = (
                here.tape is None and here.mark == NO_MARK and core == here.around and here.frame.plain is here.frame
            )
            core = here.core = number if is_core else self.number(core, here.frame.plain)
            self.entries[core].core = core
        return core
