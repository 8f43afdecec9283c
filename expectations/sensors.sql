-- What is counted of each sensor and day, over `changes.sql`. Of each rule the view of its key has rows of keys with
-- what was checked and what was not as it should be.

-- By UTC day, in one pass over the changed days. A reading is late when readings of the day after it came before it.
create table gate.sensor_days as
select
    readings.source, site_id, device_id, metric, reading_date,
    count(*) as readings,
    count(*) filter (received_count > 1) as duplicates,
    count(*) filter (invalid_reason in ('below the valid range', 'above the valid range')) as out_of_range,
    count(*) filter (invalid_reason = 'changes too fast') as too_fast,
    count(*) filter (invalid_reason = 'unit not convertible') as unit_unknown,
    count(*) filter (invalid_reason = 'measured after it was received') as of_the_future,
    count(*) filter (invalid_reason = 'device not registered') as unregistered,
    count(*) filter (invalid_reason = 'metric not registered for the device''s model') as unknown_metric,
    count(*) filter (measured_at < loads.heard_until - interval 1 day) as late
from warehouse.main.fct_readings as readings left join gate.loads as loads using (load_id)
where tenant_id = (select tenant_id from gate.tenant) and reading_date in (select day from gate.days)
    and reading_date between (select min(day) from gate.days) and (select max(day) from gate.days)
group by all;

create view gate."arrival.late_share" as
select source, site_id, device_id, metric, count(*) as checked_count, count(*) filter (late > 0) as unexpected_count
from gate.sensor_days
group by all;

create view gate."arrival.unregistered_devices" as
select
    any_value(source) as source, any_value(site_id) as site_id, device_id,
    1 as checked_count, max((unregistered > 0)::integer) as unexpected_count
from gate.sensor_days
group by all;

create view gate."arrival.unknown_metrics" as
select
    source, device_id, metric, count(*) as checked_count, count(*) filter (unknown_metric > 0) as unexpected_count
from gate.sensor_days
group by all;

create view gate."readings.sensor_range" as
select
    source, site_id, device_id, metric,
    count(*) as checked_count, count(*) filter (out_of_range > 0.01 * readings) as unexpected_count
from gate.sensor_days
group by all;

create view gate.limited_rates as
select device_id, metric
from warehouse.registry.devices join warehouse.registry.device_model_metrics using (model_id)
where tenant_id = (select tenant_id from gate.tenant) and max_change_per_minute is not null;

create view gate."readings.rates" as
select
    source, site_id, device_id, metric, sum(readings) as checked_count, sum(too_fast) as unexpected_count
from gate.sensor_days semi join gate.limited_rates using (device_id, metric)
group by all;

create view gate."readings.unit_conflicts" as
select source, site_id, device_id, metric, sum(readings) as checked_count, sum(unit_unknown) as unexpected_count
from gate.sensor_days
group by all;

create view gate."readings.future" as
select
    source, site_id, device_id, metric,
    count(*) as checked_count, count(*) filter (of_the_future > 0) as unexpected_count
from gate.sensor_days
group by all;

create view gate."readings.duplicates" as
select
    source, site_id, device_id, metric,
    count(*) as checked_count, count(*) filter (duplicates > 0) as unexpected_count
from gate.sensor_days
group by all;

-- A local day is judged as far as the tenant's data reach: from its first reading to its last one.
create table gate.span as
with lake as (
    select min(day) as first_day, max(day) as last_day
    from warehouse.build.lake_partitions
    where tenant_id = (select tenant_id from gate.tenant)
),
heard as (
    select min(measured_at) as first_at, max(measured_at) as last_at from gate.readings where invalid_reason is null
)
select
    case when first_at::date = first_day then first_at else first_day end as first_at,
    case when last_at::date = last_day then last_at else last_day + 1 end as last_at
from lake cross join heard;

create table gate.local_days as select distinct day + unnest([-1, 0, 1]) as day from gate.days;

create table gate.site_days as
with site_days as (
    select
        site_id, day,
        day::timestamp at time zone timezone at time zone 'UTC' as day_start,
        (day + 1)::timestamp at time zone timezone at time zone 'UTC' as day_end
    from gate.local_days cross join warehouse.registry.sites
    where tenant_id = (select tenant_id from gate.tenant)
)
select
    site_id, day,
    greatest(0, epoch(least(day_end, last_at)) - epoch(greatest(day_start, first_at)))
        / (epoch(day_end) - epoch(day_start)) as share
from site_days cross join gate.span;

create table gate.health as
select
    health.*, coalesce(site_days.share, 1) as share_within_data
from warehouse.main.cube_device_health_daily as health left join gate.site_days as site_days using (site_id, day)
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    and day between (select min(day) from gate.local_days) and (select max(day) from gate.local_days);

-- a day of the device's clock is seldom silent as a whole: half of it is enough, or three times the device's cadence
create view gate."arrival.silent_devices" as
with cadences as (
    select device_id, min(interval_seconds) as interval_seconds
    from warehouse.registry.devices join warehouse.registry.device_model_metrics using (model_id)
    where tenant_id = (select tenant_id from gate.tenant)
    group by device_id
)
select
    site_id, device_id, count(*) as checked_count,
    count(*) filter (
        reading_count = 0
        or share_within_data = 1 and longest_silence_minutes > greatest(720, 3 * interval_seconds / 60)
    ) as unexpected_count
from gate.health left join cadences using (device_id)
where is_registered and share_within_data >= 0.5
group by all;

create table gate.sensor_local_days as
select
    daily.site_id, device_id, metric, daily.kind, day, reading_count, expected_count, gap_count, stuck_count, reset_count,
    stuck_after_minutes, coalesce(site_days.share, 1) as share_within_data
from warehouse.main.cube_readings_daily as daily
    left join gate.site_days as site_days using (site_id, day)
    left join (
        select device_id, metric, stuck_after_minutes
        from warehouse.registry.devices join warehouse.registry.device_model_metrics using (model_id)
        where tenant_id = (select tenant_id from gate.tenant)
    ) as rules using (device_id, metric)
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    and day between (select min(day) from gate.local_days) and (select max(day) from gate.local_days);

create view gate."readings.completeness" as
select
    site_id, device_id, metric, metric as part,
    round(sum(expected_count * share_within_data))::bigint as checked_count,
    sum(floor(greatest(0, expected_count * share_within_data - reading_count)))::bigint as unexpected_count
from gate.sensor_local_days
where expected_count is not null
group by all;

create view gate."readings.cadence" as
select
    site_id, device_id, metric,
    count(*) as checked_count, count(*) filter (reading_count > 1.1 * expected_count + 1) as unexpected_count
from gate.sensor_local_days
where expected_count is not null
group by all;

create view gate."readings.gaps" as
select site_id, device_id, metric, count(*) as checked_count, count(*) filter (gap_count > 0) as unexpected_count
from gate.sensor_local_days
where gap_count is not null and share_within_data = 1
group by all;

create view gate."readings.stuck" as
select site_id, device_id, metric, count(*) as checked_count, count(*) filter (stuck_count > 0) as unexpected_count
from gate.sensor_local_days
where stuck_after_minutes is not null
group by all;

create view gate."readings.resets" as
select site_id, device_id, metric, count(*) as checked_count, count(*) filter (reset_count > 0) as unexpected_count
from gate.sensor_local_days
where kind = 'counter'
group by all;
