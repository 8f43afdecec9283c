-- Completeness of each site, week by week
-- A share is summed up by what it is a share of, never by avg(): the shorter week would count as much as the full one.
select
    site_name,
    week_start,
    sum(reading_count) as readings,
    sum(completeness * expected_count) / nullif(sum(expected_count), 0) as completeness
from cube_fleet_recent
group by site_name, week_start
order by site_name, week_start
