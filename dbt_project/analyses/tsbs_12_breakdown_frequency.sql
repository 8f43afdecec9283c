-- How often did trucks of each model break down?
-- Broken are ten minutes of which at least half of the values of status are above 0, the registry's state `broken`; a
-- breakdown is the change from ten minutes that are not. The benchmark's published SQL counts values that are not null,
-- by a slip: this is the question as it is meant.
with spells as (
    select
        device_id,
        is_in_state,
        lag(is_in_state) over (partition by device_id order by spell_start) as was_in_state
    from {{ ref('cube_state_spells') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and state = 'broken'
),

breakdowns as (
    select device_id, count(*) as breakdowns
    from spells
    where is_in_state and not was_in_state
    group by device_id
)

select devices.model_name as model, sum(breakdowns.breakdowns) as breakdowns
from breakdowns
inner join {{ ref('dim_devices') }} as devices
    on breakdowns.device_id = devices.device_id and devices.tenant_id = '{{ var('tenant', 'trucks') }}'
group by devices.model_name
order by model
