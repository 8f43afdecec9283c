-- What the dashboards' cubes hold, asked of single readings as one would write it by hand: what `fleetmart bench cubes`
-- holds the dashboards' queries against. Of a cube that is asked very different things there are several views, the
-- cheapest first; each query takes the first that has its columns. `marts` is a tenant's snapshot, `registry` the
-- registry; fleets whose every device reports every day, since a day without readings has no row here.
create schema from_readings;
use from_readings;

create macro seconds(first, last) as (epoch_us(last) - epoch_us(first)) / 1e6;
create macro starts_at(day, timezone) as (day::timestamp at time zone timezone) at time zone 'UTC';
create macro day_seconds(day, timezone) as seconds(starts_at(day, timezone), starts_at(day + 1, timezone));

create view sensors as
select tenant_id, device_id, metric, metric_label, kind, metrics.unit, interval_seconds, stuck_after_minutes,
    tenant_name, site_id, site_name, timezone, device_name, model_name
from registry.devices join registry.device_model_metrics using (model_id) join registry.device_models using (model_id)
    join registry.metrics using (metric) join registry.sites using (tenant_id, site_id)
    join registry.tenants using (tenant_id);

create view readings as
select sensors.*, measured_at, local_day as day, value, is_valid, invalid_reason
from marts.main.fct_readings join sensors using (tenant_id, device_id, metric);

create view days as
select tenant_id, site_id, day, starts_at(day, timezone) as day_start, starts_at(day + 1, timezone) as day_end
from (select distinct tenant_id, site_id, local_day as day from marts.main.fct_readings)
    join registry.sites using (tenant_id, site_id);

create view cube_readings_daily as
select tenant_id, tenant_name, site_id, site_name, device_id, device_name, metric, metric_label, unit, day,
    count(*) as reading_count, count(*) filter (where is_valid) as valid_count,
    day_seconds(day, any_value(timezone)) / any_value(interval_seconds) as expected_count,
    min(value) filter (where is_valid) as value_min, max(value) filter (where is_valid) as value_max,
    sum(value) filter (where is_valid) as value_sum
from readings group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

create view cube_readings_hourly as
select tenant_id, tenant_name, site_name, device_id, device_name, metric, metric_label, unit,
    date_trunc('hour', measured_at) as hour_start,
    extract(hour from hour_start at time zone 'UTC' at time zone any_value(timezone)) as local_hour,
    count(*) filter (where is_valid) as valid_count, avg(value) filter (where is_valid) as value_avg,
    sum(value) filter (where is_valid) as value_sum
from readings group by 1, 2, 3, 4, 5, 6, 7, 8, 9;

create view cube_device_health_daily as
with cadences as (
    select tenant_id, device_id, min(interval_seconds) as shortest, sum(1 / interval_seconds) as expected_per_second
    from sensors group by all
)
select tenant_id, tenant_name, site_id, site_name, device_id, device_name, model_name, day,
    count(*) as reading_count, count(*) filter (where is_valid) as valid_count,
    count(*) filter (where not is_valid) as invalid_count,
    count(*) filter (where invalid_reason like '%the valid range') as out_of_range_count,
    day_seconds(day, any_value(timezone)) * any_value(expected_per_second) as expected_count,
    least(1, count(interval_seconds) / expected_count) as completeness,
    least(1, count(distinct floor(seconds(day_start, measured_at) / shortest))
        / (day_seconds(day, any_value(timezone)) / any_value(shortest))) as availability,
    max(measured_at) as last_seen_at
from readings join cadences using (tenant_id, device_id) join days using (tenant_id, site_id, day) group by 1, 2, 3, 4, 5, 6, 7, 8;

create view cube_device_health_daily_silences as
with silences as (
    select *, seconds(coalesce(lag(measured_at) over device_day, day_start), measured_at) as before,
        seconds(measured_at, coalesce(lead(measured_at) over device_day, day_end)) as after
    from readings join days using (tenant_id, site_id, day) window device_day as (partition by tenant_id, device_id, day order by measured_at)
)
select tenant_id, tenant_name, site_name, device_id, device_name, day,
    greatest(max(before), max(after)) / 60 as longest_silence_minutes
from silences group by 1, 2, 3, 4, 5, 6;

create view cube_device_health_daily_stuck as
with valid as (
    select *, value = lag(value) over sensor as is_same
    from readings where is_valid window sensor as (partition by tenant_id, device_id, metric order by measured_at)
),
numbered as (
    select *, count(*) filter (where is_same is distinct from true)
        over (partition by tenant_id, device_id, metric order by measured_at) as run
    from valid
),
same as (
    select *, min(measured_at) over (partition by tenant_id, device_id, metric, run) as begins_at from numbered
),
stuck as (
    select tenant_id, device_id, day, count(*) as stuck_count
    from same where seconds(begins_at, measured_at) >= 60 * stuck_after_minutes group by all
)
select health.*, coalesce(stuck_count, 0) as stuck_count
from cube_device_health_daily as health left join stuck using (tenant_id, device_id, day);

create view latest as select tenant_id, max(local_day) as as_of_day from marts.main.fct_readings group by all;

create view cube_fleet_recent as
select tenant_id, tenant_name, site_id, site_name, day, any_value(as_of_day) as as_of_day,
    any_value(as_of_day) - day as days_before_latest, count(*) as devices_registered, count(*) as devices_reporting,
    sum(reading_count) as reading_count, sum(valid_count) as valid_count, sum(expected_count) as expected_count,
    sum(completeness * expected_count) / sum(expected_count) as completeness, avg(availability) as availability,
    sum(valid_count) / sum(reading_count) as valid_share, sum(invalid_count) as invalid_count
from cube_device_health_daily join latest using (tenant_id) where day between as_of_day - 90 and as_of_day
group by 1, 2, 3, 4, 5;

create view cube_fleet_recent_changes as
select this.*, this.completeness - before.completeness as completeness_change,
    this.valid_share - before.valid_share as valid_share_change
from cube_fleet_recent as this left join cube_fleet_recent as before
    on this.tenant_id = before.tenant_id and this.site_id = before.site_id and this.day = before.day + 7;

create view cube_devices_recent as
with recent as (
    select *, true as is_registered, as_of_day - day < 7 as now
    from cube_device_health_daily_stuck join latest using (tenant_id)
    where day between as_of_day - 13 and as_of_day
),
devices as (
    select tenant_id, tenant_name, site_id, site_name, device_id, device_name, as_of_day,
        sum(reading_count) filter (where now) as reading_count,
        sum(completeness * expected_count) filter (where now) / sum(expected_count) filter (where now) as completeness,
        sum(completeness * expected_count) filter (where not now) / sum(expected_count) filter (where not now)
            as completeness_week_before,
        avg(availability) filter (where now) as availability,
        sum(valid_count) filter (where now) / sum(reading_count) filter (where now) as valid_share,
        sum(out_of_range_count) filter (where now) as out_of_range_count,
        sum(invalid_count) filter (where now) as invalid_count, sum(stuck_count) filter (where now) as stuck_count,
        max(last_seen_at) as last_seen_at
    from recent group by 1, 2, 3, 4, 5, 6, 7
)
select *, completeness - completeness_week_before as completeness_change,
    completeness * valid_share * (1 - stuck_count / reading_count) as health_score,
    row_number() over (partition by tenant_id order by health_score, device_id) as worst_rank,
    case
        when availability < 0.9 then 'Silent for ' || round(100 * (1 - availability))::int || ' % of the time'
        when out_of_range_count > 0.01 * reading_count
            then round(100.0 * out_of_range_count / reading_count, 1) || ' % out of range'
        when stuck_count > 0.05 * reading_count
            then round(100.0 * stuck_count / reading_count)::int || ' % stuck at one value'
        when completeness < 0.99 then round(100 * completeness)::int || ' % of expected readings'
        when out_of_range_count > 0 then out_of_range_count || ' readings out of range'
        when invalid_count > 0 then invalid_count || ' invalid readings'
        when stuck_count > 0 then stuck_count || ' readings stuck at one value'
    end as main_issue
from devices left join (
    select tenant_id, site_id, device_id, model_name from registry.devices join registry.device_models using (model_id)
) using (tenant_id, site_id, device_id);

create view cube_headlines_recent as
with daily as (
    select tenant_id, tenant_name, metric, label as headline, rank as headline_rank, day, as_of_day,
        case any_value(aggregation)
            when 'sum' then sum(value) when 'avg' then avg(value) when 'min' then min(value) when 'max' then max(value)
        end as value
    from registry.headline_metrics join readings using (tenant_id, metric) join latest using (tenant_id)
    where is_valid and day between as_of_day - 90 and as_of_day group by 1, 2, 3, 4, 5, 6, 7
)
select *, as_of_day - day as days_before_latest,
    value / avg(value) over (partition by tenant_id, metric) as relative_to_average
from daily;
