-- Two metrics side by side
-- One row per device and hour with a column for each metric: what a scatter plot or a correlation needs.
with chosen as (
    select metric, row_number() over (order by count(*) desc, metric) as place
    from cube_readings_hourly
    where kind = 'gauge'
    group by metric
)

select
    device_name,
    hour_start,
    any_value(value_avg) filter (where place = 1) as first_metric,
    any_value(value_avg) filter (where place = 2) as second_metric
from cube_readings_hourly
inner join chosen on cube_readings_hourly.metric = chosen.metric and place <= 2
group by device_name, hour_start
order by hour_start desc, device_name
limit 1000
