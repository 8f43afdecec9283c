-- The longest gaps between two readings
-- lead() looks at the next reading of the same sensor. cube_device_health_daily knows each day's longest silence already.
with gaps as (
    select
        device_name,
        metric_label,
        measured_at as silent_from,
        lead(measured_at) over (partition by tenant_id, device_id, metric order by measured_at) as heard_again_at
    from fct_readings
)

select
    *,
    date_diff('minute', silent_from, heard_again_at) as minutes
from gaps
where heard_again_at is not null
order by minutes desc
limit 100
