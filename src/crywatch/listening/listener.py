"""Several sources heard at once, and all who want to know told of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from crywatch.core.redact import redacted
from crywatch.detection.decisions import Rule
from crywatch.listening.config import ListenConfig
from crywatch.listening.engine import Engine, Windowed
from crywatch.listening.events import CryEvent, SecondScore, Sink, Sound, SourceState, State
from crywatch.listening.feed import feed
from crywatch.listening.sources import Source

Say = Callable[[str], None]  # one line for whoever looks after the listener


class Sinks:
    """All sinks as one: told in turn, from any thread; one that fails is told of and ends none."""

    def __init__(self, sinks: Sequence[Sink], say: Say):
        self._sinks, self._say = sinks, say
        self._lock = threading.RLock()
        self._failures: dict[int, str] = {}  # of a sink: what it failed with last

    def sound(self, sound: Sound) -> None:
        self._tell("sound", sound)

    def second(self, second: SecondScore) -> None:
        self._tell("second", second)

    def event(self, event: CryEvent) -> None:
        self._tell("event", event)

    def state(self, state: SourceState) -> None:
        self._tell("state", state)

    def close(self) -> None:
        self._tell("close")

    def _tell(self, what: str, *news: Any) -> None:
        with self._lock:
            for number, sink in enumerate(self._sinks):
                try:
                    getattr(sink, what)(*news)
                except Exception as error:
                    self._failed(number, sink, error)
                else:
                    if what != "sound" and what != "second":  # not all sinks do something of these
                        self._failures.pop(number, None)

    def _failed(self, number: int, sink: Sink, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self._failures.get(number) != reason:  # not once a second
            self._failures[number] = reason
            self._say(redacted(f"{type(sink).__name__.lower()}: {reason}; listening goes on"))


class Listener:
    """``sources`` by ``model``, each in a thread of its own, until they end or `stop` is called."""

    def __init__(
        self,
        sources: Sequence[Source],
        model: Windowed,
        rule: Rule,
        config: ListenConfig,
        sinks: Sequence[Sink],
        say: Say,
        speed: float = 1.0,
        pcm_hz: int = 0,
    ):
        self._sources, self._config = sources, config
        self._speed, self._pcm_hz = speed, pcm_hz
        self._say, self._sinks = say, Sinks(sinks, say)
        self._stop = threading.Event()
        self._model = _OneAtATime(model)
        self._engines = {
            source.name: Engine(source.name, self._model, rule, config.lookahead_s, self._sinks)
            for source in sources
        }
        self.failed: set[str] = set()  # sources that ended with a reason

    def use(self, model: Windowed, rule: Rule) -> None:
        """Go on with another model, each source as soon as no event of it is open."""
        shared = _OneAtATime(model)
        for engine in self._engines.values():
            engine.use(shared, rule)

    def stop(self) -> None:
        """End soon: open events end, and sinks are told."""
        self._stop.set()

    def run(self) -> None:
        """Listen; returns when all sources have ended."""
        threads = [
            threading.Thread(target=self._listen, args=[source], name=source.name, daemon=True)
            for source in self._sources
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # a signal is handled between
        self._sinks.close()

    def _listen(self, source: Source) -> None:
        try:
            self._hear(source)
        except Exception as error:  # of one source, and no reason for the others to end
            self.failed.add(source.name)
            self._say(redacted(f"{source.name}: {type(error).__name__}: {error}"))

    def _hear(self, source: Source) -> None:
        engine, why = self._engines[source.name], ""
        for news in feed(source, self._config, self._stop, self._speed, self._pcm_hz):
            if isinstance(news, Sound):
                self._sinks.sound(news)
                engine.push(news)
                continue
            if news.reason not in ("", why):  # a camera that is off is told of once
                self._say(f"{source.name}: {news.reason}")
            why = news.reason or why if news.state is not State.LISTENING else ""
            if news.state is not State.LISTENING:
                engine.finish()
            self._sinks.state(news)
            if news.state is State.ENDED and news.reason:
                self.failed.add(source.name)


class _OneAtATime:
    """A model that several threads share."""

    def __init__(self, model: Windowed):
        self.rate_hz, self.context, self.decision = model.rate_hz, model.context, model.decision
        self._model, self._lock = model, threading.Lock()

    def hear(self, windows: Any) -> Any:
        with self._lock:
            return self._model.hear(windows)
