-- A metric by day and site
-- cube_readings_daily has one row per device, metric and day of the site's clock. Averages over several rows weigh each
-- by its valid readings.
select
    site_name,
    day,
    metric_label,
    unit,
    sum(value_sum) / nullif(sum(valid_count), 0) as average,
    min(value_min) as lowest,
    max(value_max) as highest
from cube_readings_daily
where metric = (select metric from cube_headlines_recent order by headline_rank limit 1)
group by site_name, day, metric_label, unit
order by day desc, site_name
