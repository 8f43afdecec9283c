-- The cubes as one would write them for one fleet by hand, from the lake's files and the registry's tables: what
-- `fleetmart bench cubes` holds a build against. Everything is computed anew, in one database.
create macro seconds(first, last) as (epoch_us(last) - epoch_us(first)) / 1e6;

create table sensors as
select tenant_id, device_id, metric, site_id, timezone, kind, metrics.unit, interval_seconds, valid_min, valid_max,
    to_seconds(coalesce(2 * interval_seconds, 86400)) as hold, tenant_name, site_name, device_name, metric_label
from registry.devices join registry.device_model_metrics using (model_id) join registry.metrics using (metric)
    join registry.sites using (tenant_id, site_id) join registry.tenants using (tenant_id);

create table readings as
with latest as (
    select * replace (make_timestamp(epoch_us(measured_at)) as measured_at) from lake
    qualify row_number() over (
        partition by tenant_id, device_id, metric, measured_at order by received_at desc, load_id desc, source_row desc
    ) = 1
),
judged as (
    select sensors.*, measured_at, value,
        value is not null and coalesce(value >= valid_min, true) and coalesce(value <= valid_max, true) as is_valid,
        (measured_at at time zone 'UTC' at time zone timezone)::date as day
    from latest join sensors using (tenant_id, device_id, metric)
)
select *,
    (day::timestamp at time zone timezone) at time zone 'UTC' as day_start,
    ((day + 1)::timestamp at time zone timezone) at time zone 'UTC' as day_end,
    lag(measured_at) over sensor as before_at,
    lag(value) over sensor as value_before,
    least(lead(measured_at) over sensor, measured_at + hold) as held_until,
    least(measured_at, lag(measured_at) over sensor + hold) as carried_until
from judged
window sensor as (partition by tenant_id, device_id, metric, is_valid order by measured_at);

create macro carried(bucket_start, before_at, carried_until) as
    case when before_at < bucket_start then greatest(0, seconds(bucket_start, carried_until)) else 0 end;
create macro increase(before, after) as
    case when before is null then 0 when after >= before then after - before else after end;

create table hourly as
with hours as (select *, date_trunc('hour', measured_at) as hour_start from readings)
select tenant_id, tenant_name, site_id, site_name, device_id, device_name, metric, metric_label, unit, kind, hour_start,
    count(*) as reading_count, count(*) filter (where is_valid) as valid_count,
    3600 / any_value(interval_seconds) as expected_count,
    avg(value) filter (where is_valid) as value_avg, min(value) filter (where is_valid) as value_min,
    max(value) filter (where is_valid) as value_max, sum(value) filter (where is_valid) as value_sum,
    arg_min(value, measured_at) filter (where is_valid) as value_first,
    arg_max(value, measured_at) filter (where is_valid) as value_last,
    stddev_samp(value) filter (where is_valid) as value_stddev,
    quantile_cont(value, 0.5) filter (where is_valid) as value_p50,
    quantile_cont(value, 0.95) filter (where is_valid) as value_p95,
    sum(seconds(measured_at, least(held_until, hour_start + interval 1 hour)) + carried(hour_start, before_at, carried_until)) filter (where is_valid) as covered_seconds,
    sum(value * seconds(measured_at, least(held_until, hour_start + interval 1 hour)) + coalesce(value_before * carried(hour_start, before_at, carried_until), 0))
        filter (where is_valid) / nullif(covered_seconds, 0) as value_time_avg,
    case when kind = 'counter' then sum(increase(value_before, value)) filter (where is_valid) end as value_increase,
    case when kind = 'counter' then count(*) filter (where is_valid and value < value_before) end as reset_count
from hours group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11;

create table daily as
select tenant_id, tenant_name, site_id, site_name, device_id, device_name, metric, metric_label, unit, kind, day,
    count(*) as reading_count, count(*) filter (where is_valid) as valid_count,
    seconds(any_value(day_start), any_value(day_end)) / any_value(interval_seconds) as expected_count,
    avg(value) filter (where is_valid) as value_avg, min(value) filter (where is_valid) as value_min,
    max(value) filter (where is_valid) as value_max, sum(value) filter (where is_valid) as value_sum,
    arg_min(value, measured_at) filter (where is_valid) as value_first,
    arg_max(value, measured_at) filter (where is_valid) as value_last,
    stddev_samp(value) filter (where is_valid) as value_stddev,
    quantile_cont(value, 0.5) filter (where is_valid) as value_p50,
    quantile_cont(value, 0.95) filter (where is_valid) as value_p95,
    sum(seconds(measured_at, least(held_until, day_end)) + carried(day_start, before_at, carried_until)) filter (where is_valid) as covered_seconds,
    sum(value * seconds(measured_at, least(held_until, day_end)) + coalesce(value_before * carried(day_start, before_at, carried_until), 0)) filter (where is_valid)
        / nullif(covered_seconds, 0) as value_time_avg,
    case when kind = 'counter' then sum(increase(value_before, value)) filter (where is_valid) end as value_increase,
    case when kind = 'counter' then count(*) filter (where is_valid and value < value_before) end as reset_count
from readings group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11;

create macro rolled_up(finer, start_name, period_of) as table (
    select tenant_id, tenant_name, site_id, site_name, device_id, device_name, metric, metric_label, unit, kind,
        period_of as period_start, sum(reading_count)::bigint as reading_count, sum(valid_count)::bigint as valid_count,
        sum(value_sum) / nullif(sum(valid_count), 0) as value_avg, min(value_min) as value_min,
        max(value_max) as value_max, sum(value_sum) as value_sum, sum(covered_seconds) as covered_seconds,
        sum(value_time_avg * covered_seconds) / nullif(sum(covered_seconds), 0) as value_time_avg,
        sum(value_increase) as value_increase, sum(reset_count)::bigint as reset_count
    from query_table(finer) group by all
);
create table monthly as from rolled_up('daily', day, date_trunc('month', day));
create table utc_daily as from rolled_up('hourly', hour_start, hour_start::date);
create table utc_monthly as from rolled_up('hourly', hour_start, date_trunc('month', hour_start));

create macro devices_together(finer, period_of) as table (
    select tenant_id, tenant_name, site_id, site_name, metric, metric_label, unit, kind, period_of as period_start,
        count(distinct device_id) as device_count, sum(reading_count)::bigint as reading_count,
        sum(valid_count)::bigint as valid_count, sum(value_sum) / nullif(sum(valid_count), 0) as value_avg,
        min(value_min) as value_min, max(value_max) as value_max, sum(value_sum) as value_sum,
        sum(value_time_avg * covered_seconds) / nullif(sum(covered_seconds), 0) as value_time_avg,
        sum(value_increase) as value_increase
    from query_table(finer)
    group by grouping sets (
        (tenant_id, tenant_name, site_id, site_name, metric, metric_label, unit, kind, period_of),
        (tenant_id, tenant_name, metric, metric_label, unit, kind, period_of)
    )
);
create table fleet_hourly as from devices_together('hourly', hour_start);
create table fleet_daily as from devices_together('daily', day);
create table fleet_monthly as from devices_together('monthly', period_start);
