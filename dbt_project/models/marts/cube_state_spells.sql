{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_partitions', 'day': 'cast(spell_start as date)', 'instant': 'spell_start'},
) }}

-- grain: tenant, site, device, state known by figures of ten minutes, spell within a UTC day
with buckets as (
    select
        buckets.tenant_id,
        buckets.site_id,
        buckets.device_id,
        rules.state,
        buckets.metric,
        buckets.unit,
        buckets.bucket_start,
        case rules.figure
            when 'average' then {{ meets_rule('buckets.value_avg') }}
            when 'positive_share' then {{ meets_rule('buckets.positive_count / buckets.valid_count') }}
        end as is_in_state
    from {{ ref('cube_readings_ten_minutes') }} as buckets
    inner join {{ ref('stg_state_rules') }} as rules
        on buckets.tenant_id = rules.tenant_id
        and buckets.device_id = rules.device_id
        and buckets.metric = rules.metric
    where rules.figure in ('average', 'positive_share')
        and buckets.valid_count > 0
        and {{ in_touched('touched_partitions', 'cast(buckets.bucket_start as date)', 'buckets.tenant_id') }}
        and {{ near_touched('touched_partitions', 'buckets.bucket_start', 0) }}
),

marked as (
    select
        *,
        (is_in_state is distinct from lag(is_in_state) over state_day) as is_change
    from buckets
    window state_day as (partition by tenant_id, device_id, state, cast(bucket_start as date) order by bucket_start)
),

numbered as (
    select
        *,
        count(*) filter (where is_change) over state_day as spell
    from marked
    window state_day as (partition by tenant_id, device_id, state, cast(bucket_start as date) order by bucket_start)
),

spells as (
    select
        tenant_id,
        site_id,
        device_id,
        state,
        metric,
        unit,
        is_in_state,
        min(bucket_start) as spell_start,
        max(bucket_start) as last_bucket_start,
        count(*) as bucket_count
    from numbered
    group by
        tenant_id,
        site_id,
        device_id,
        state,
        metric,
        unit,
        is_in_state,
        cast(bucket_start as date),
        spell
)

select
    {{ reading_labels('spells') }},
    spells.state,
    spells.is_in_state,
    spells.spell_start,
    spells.last_bucket_start,
    spells.bucket_count
from spells
{{ join_labels('spells') }}
order by cast(spells.spell_start as date), spells.tenant_id, spells.state, spells.device_id, spells.spell_start
