-- Invalid readings and why
-- Invalid readings stay in fct_readings with the first rule that they broke; no average counts them.
select
    device_name,
    metric_label,
    invalid_reason,
    count(*) as readings,
    min(value) as lowest,
    max(value) as highest,
    min(measured_at) as first_at,
    max(measured_at) as last_at
from fct_readings
where not is_valid
group by device_name, metric_label, invalid_reason
order by readings desc
