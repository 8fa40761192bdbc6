"""Do the detectors know crying, or corpora? `python pipelines/audit_shortcuts.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.systems import VARIANTS, systems
from crywatch.evaluation.audit_shortcuts import AuditShortcutsConfig, run


def main() -> None:
    with tracking.stage_run("audit_shortcuts") as log:
        config = params.section("audit_shortcuts", AuditShortcutsConfig)
        variants = {family: params.plain(key) for family, key in VARIANTS.items()}
        out = paths.AUDIT_SHORTCUTS
        summary = run(
            systems(config.systems, variants, params.plain("yamnet.handle")),
            Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            config,
            params.plain("channels"),
            params.plain("seed"),
            out,
        )
        log.headline(summary.headline(config.main))
        for name in ("tables.json", "channels.svg", "probe.svg"):
            log.artifact(out / name)


if __name__ == "__main__":
    main()
