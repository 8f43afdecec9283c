-- How often an instant of a sensor is there, of one day: all days at once would take memory that grows with them.
insert into gate."readings.unique"
with instants as (
    select any_value(site_id) as site_id, device_id, metric, count(*) as readings
    from gate.readings
    where measured_at >= $1::date and measured_at < $1::date + interval 1 day
    group by device_id, metric, measured_at
)
select
    site_id, device_id, metric,
    sum(readings) as checked_count, coalesce(sum(readings) filter (readings > 1), 0) as unexpected_count
from instants
group by all;
