"""Tables between stages are read only where their paths stay in the project."""

from __future__ import annotations

import pandas as pd
import pytest

from crywatch.core.errors import TableError
from crywatch.data.tables import TableSchema, read_table, write_table


@pytest.mark.parametrize("column", ["path", "source_path"])
@pytest.mark.parametrize("odd", ["/etc/passwd", "../../x.flac", "data/../../x", ""])
def test_a_table_with_paths_that_lead_out_is_not_read(tmp_path, column, odd):
    schema = TableSchema("clips", {"path": ("str", False), "source_path": ("str", False)})
    frame = pd.DataFrame({"path": ["a.flac", "b.flac"], "source_path": ["a.wav", "at 12:30.wav"]})
    frame.loc[0, column] = str(tmp_path / "a.flac")  # is in the project
    write_table(frame, tmp_path / "clips.parquet", schema)
    assert len(read_table(tmp_path / "clips.parquet", schema)) == 2
    frame.loc[1, column] = odd
    write_table(frame, tmp_path / "clips.parquet", schema)
    with pytest.raises(TableError, match=f"clips.parquet: column {column}, row 1: "):
        read_table(tmp_path / "clips.parquet", schema)
