-- Down to single readings: the latest day of one device
-- Narrow fct_readings by reading_date and device first: its rows lie together by day.
select
    measured_at,
    device_name,
    metric_label,
    value,
    value_text,
    unit,
    is_valid,
    invalid_reason,
    source,
    source_row
from fct_readings
where reading_date = (select max(reading_date) from fct_readings)
    and device_id = (select min(device_id) from fct_readings where reading_date = (select max(reading_date) from fct_readings))
order by measured_at desc, metric_label
limit 1000
