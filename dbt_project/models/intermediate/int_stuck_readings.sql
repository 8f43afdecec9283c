{{ config(
    materialized='incremental', incremental_strategy='replace_touched', database=target.database,
    touched_by={'scope': 'touched_days', 'day': 'day'},
) }}

-- grain: tenant, device, metric, local day with a valid reading that equals the one before it; of sensors that may
-- repeat a value for so long only
with same as (
    select
        tenant_id,
        device_id,
        metric,
        local_day as day,
        measured_at,
        measured_at_before,
        stuck_after_minutes
    from {{ ref('int_readings_in_order') }}
    where stuck_after_minutes is not null and is_valid and value = value_before
),

linked as (
    select
        *,
        (measured_at_before is not distinct from lag(measured_at) over sensor) as goes_on
    from same
    window sensor as (partition by tenant_id, device_id, metric order by measured_at)
),

numbered as (
    select
        *,
        count(*) filter (where not goes_on) over (
            partition by tenant_id, device_id, metric order by measured_at
        ) as run
    from linked
),

runs as (
    select *, min(measured_at_before) over (partition by tenant_id, device_id, metric, run) as begins_at
    from numbered
),

-- a run goes on from a reading of an earlier day that repeated a value itself
{% if is_incremental() -%}
earlier as (
    select tenant_id, device_id, metric, last_at, same_since
    from {{ this }}
    where not {{ in_touched('touched_days', 'day') }}
),

dated as (
    select runs.*, coalesce(earlier.same_since, runs.begins_at) as same_since
    from runs
    left join earlier
        on runs.tenant_id = earlier.tenant_id
        and runs.device_id = earlier.device_id
        and runs.metric = earlier.metric
        and runs.begins_at = earlier.last_at
)
{%- else -%}
dated as (
    select *, begins_at as same_since from runs
)
{%- endif %}

select
    tenant_id,
    device_id,
    metric,
    day,
    max(measured_at) as last_at,
    arg_max(same_since, measured_at) as same_since,
    count(*) filter (where {{ seconds_between('same_since', 'measured_at') }} >= 60 * stuck_after_minutes)
        as stuck_count
from dated
group by tenant_id, device_id, metric, day
