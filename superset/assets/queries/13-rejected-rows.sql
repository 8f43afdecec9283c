-- Rows that were refused on the way in
-- What could not be read as a reading, by file and reason; the example shows the shape of a value, never the value.
select
    source,
    file_name,
    metric,
    reason,
    example,
    rejected_count,
    first_source_row,
    received_at
from rejected_rows_summary
order by received_at desc, rejected_count desc
