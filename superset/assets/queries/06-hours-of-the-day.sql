-- The usual day: a metric by hour of the site's clock
-- local_hour is the hour on the site's clock; hour_start is UTC.
select
    site_name,
    metric_label,
    unit,
    local_hour,
    sum(value_avg * valid_count) / nullif(sum(valid_count), 0) as average,
    count(distinct local_day) as days
from cube_readings_hourly
where kind = 'gauge'
group by site_name, metric_label, unit, local_hour
order by site_name, metric_label, local_hour
