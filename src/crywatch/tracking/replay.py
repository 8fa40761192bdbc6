"""A journal's records done to the store, in order.

Every record may be done again: a run is looked for by its tag before it is made, MLflow ignores a
point of a metric, a parameter, a tag or a data set that it has, files are overwritten, and a model
is gone on with. So what the store did although its answer was lost, and what was delivered before
the cursor could be written, is in the store once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from crywatch.tracking import describe, entries, parent, pyfunc, sweeps
from crywatch.tracking.journal import Journal, Record
from crywatch.tracking.store import Store, home, store_is_lost

AT_ONCE = 500  # records
MERGED = ("metrics", "headline")
KILLED = "KILLED"


class StoreLost(Exception):
    """The store took no more; its cause says why."""


class Replay:
    """Delivers one journal.

    ``refused`` is told what the store will never take, which is then left out.
    """

    def __init__(
        self, store: Store, journal: Journal, refused: Callable[[BaseException], None]
    ) -> None:
        self._store, self._journal, self._refused = store, journal, refused
        self._ready = self.ended = False
        self._parent_id = ""

    @property
    def run_id(self) -> str:
        """The run in the store; empty before it is there."""
        return self._journal.state.get("run_id", "")

    def deliver(self) -> None:
        """All records that there are.

        Raises
        ------
        StoreLost
            It failed in a way that later requests would too; what it has is noted in the journal.
        """
        while records := self._journal.take(AT_ONCE):
            self._prepare()
            for do, group in _in_order(records):
                self._apply(do, [record.content for record in group])
                self._journal.done(group)

    def bury(self) -> None:
        """End the run of a stage that did not: it was killed."""
        if self.ended or self._journal.state.get("ended"):
            return
        self._prepare()
        at_ms = self._journal.state.get("at", self._journal.head["at"])
        self._apply("end", [{"status": KILLED, "at": at_ms}])

    def _prepare(self) -> None:
        """The run and its parent, found or made."""
        if self._ready:
            return
        head, state = self._journal.head, self._journal.state
        try:
            rebuild = parent.Rebuild.read(head["rebuild"])
            self._parent_id = parent.find_or_create(
                self._store, rebuild, lambda: sweeps.tags(self._store, rebuild.queue)
            )
            state["run_id"] = self._find() or self._create()
        except Exception as error:  # whatever the store or its driver raises
            raise StoreLost from error
        self._ready = True

    def _find(self) -> str:
        return parent.find_only(self._store, parent.RUN, self._journal.head["key"], self.run_id)

    def _create(self) -> str:
        head = self._journal.head
        tags = head["tags"] | {parent.PARENT: self._parent_id, parent.RUN: head["key"]}
        if about := describe.stage_note(head["name"], home()):
            tags[describe.NOTE] = about
        run = self._store.client.create_run(
            self._store.experiment_id, start_time=head["at"], run_name=head["name"], tags=tags
        )
        return run.info.run_id

    def _apply(self, do: str, records: list[dict[str, Any]]) -> None:
        try:
            if do in MERGED:
                run_id = self.run_id if do == "metrics" else self._parent_id
                self._log_metrics(run_id, records)
            else:
                getattr(self, f"_do_{do}", self._do_damaged)(*records)
        except Exception as error:  # whatever the store, its driver or a file raises
            forbidden = isinstance(error, PermissionError) and self._readable(records)
            if forbidden or store_is_lost(error):
                raise StoreLost from error
            if len(records) > 1:  # which of them it was, and the others
                for record in records:
                    self._apply(do, [record])
            else:
                self._refused(error)
        self._journal.state["at"] = max(
            self._journal.state.get("at", 0), *(record.get("at", 0) for record in records)
        )

    def _log_metrics(self, run_id: str, records: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(name, value, record["at"], record.get("step") or 0)
            for record in records
            for name, value in record["of"].items()
        ]
        self._store.client.log_batch(run_id, metrics=points)

    def _do_params(self, record: dict[str, Any]) -> None:
        from mlflow.entities import Param

        values = [Param(name, value) for name, value in record["of"].items()]
        self._store.client.log_batch(self.run_id, params=values)

    def _do_tags(self, record: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        values = [RunTag(name, value) for name, value in record["of"].items()]
        self._store.client.log_batch(self.run_id, tags=values)

    def _do_inputs(self, record: dict[str, Any]) -> None:
        entries.give_inputs(self._store, self.run_id, self._parent_id, record["of"])

    def _do_entry(self, record: dict[str, Any]) -> None:
        if not entries.give(self._store, record["key"], record["of"], record["at"]):
            raise LookupError(f"no run {record['key']} here gets its entry of dvc.lock")

    def _do_artifact(self, record: dict[str, Any]) -> None:
        path, client = self._path(record), self._store.client
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(self.run_id, str(path), record["folder"] or None)

    def _do_model(self, record: dict[str, Any]) -> None:
        pyfunc.log(self._store, self.run_id, record["name"], self._path(record), record["tags"])

    def _do_skipped(self, record: dict[str, Any]) -> None:
        parent.note_skipped(self._store, self._parent_id, record["of"], record["at"])

    def _do_end(self, record: dict[str, Any]) -> None:
        self._find()  # deletes a second one
        self._store.client.set_terminated(self.run_id, record["status"], record["at"])
        parent.update(self._store, self._parent_id, record["at"])
        sweeps.update(self._store, self._parent_id)
        self.ended = self._journal.state["ended"] = True

    def _do_damaged(self, record: dict[str, Any]) -> None:
        raise ValueError(f"{self._journal.folder}: a record of {record['do']!r} cannot be read")

    def _readable(self, records: list[dict[str, Any]]) -> bool:
        """Whether what is to be uploaded can be read: then the store may not be written."""
        paths = [self._path(record) for record in records if "path" in record]
        return bool(paths) and all(os.access(path, os.R_OK) for path in paths)

    def _path(self, record: dict[str, Any]) -> Path:
        """Of what is to be uploaded: in the journal's folder, which may have been moved."""
        return self._journal.folder / record["path"]


def _in_order(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Records that are sent together: numbers in a row, and others one at a time."""
    for do, row in groupby(records, key=lambda record: record.content["do"]):
        if do in MERGED:
            yield do, list(row)
        else:
            yield from ((do, [record]) for record in row)
